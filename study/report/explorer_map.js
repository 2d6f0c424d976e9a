// The explorer's heat map for one validation example: a row for each method, a column for each training example.
// explorer.py puts this before explorer.js, in one function.

/** An element with attributes, listeners (attributes that begin with "on") and children; strings become text. */
function make(tag, attributes = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...inside);
  return element;
}

/** A method's name, behind a dot in its colour. */
function called({ name, colour }, tag) {
  const dot = make("i", { class: "explorer-dot" });
  dot.style.background = colour;
  return make(tag, {}, dot, name);
}

/** From white to the dark red of the book's heat map. */
function shade(share) {
  const ends = [[255, 103], [245, 0], [240, 13]];
  return `rgb(${ends.map(([from, to]) => Math.round(from + share * (to - from))).join(", ")})`;
}

/**
 * The map's element and its setters. Calls `acts.hover(row, column)` as the pointer moves (without arguments when it
 * leaves), `acts.select(row, column)` on a click and `acts.press(event)` on a key. A screen reader finds a grid with one
 * cell, the one at the cursor.
 */
function heatMap(acts) {
  const HEIGHT = 20, GAP = 8; // pixels: a row's height, the gap between groups of methods
  const name = `explorer-${Math.random().toString(36).slice(2)}`;
  let tops = [], bands = [], shades = [], total = 0, marked = 0;

  const heads = make("div", { class: "explorer-bands", "aria-hidden": "true" });
  const names = make("div", { class: "explorer-names", "aria-hidden": "true" });
  const canvas = make("canvas", { "aria-hidden": "true" });
  const [hovered, pinned, selected] = ["hovered", "pinned", "selected"].map((what) =>
    make("div", { class: `explorer-column ${what}` }));
  const line = make("div", { role: "row" });
  const grid = make("div", {
    class: "explorer-grid", role: "grid", tabindex: "0", "aria-label": "Heat map: methods by training examples",
    onpointermove: (event) => acts.hover(...at(event)), onpointerleave: () => acts.hover(),
    onclick: (event) => acts.select(...at(event)), onkeydown: acts.press,
  }, canvas, hovered, pinned, selected, line);
  new ResizeObserver(draw).observe(grid);

  function at(event) {
    const box = grid.getBoundingClientRect();
    const down = event.clientY - box.top;
    const row = tops.findLastIndex((top) => top <= down);
    const column = Math.floor(((event.clientX - box.left) / box.width) * total);
    return row < 0 || column < 0 || column >= total ? [] : [row, column];
  }

  function stand(element, column) {
    element.hidden = column < 0;
    element.style.left = `${(100 * column) / total}%`;
    element.style.width = `${100 / total}%`;
  }

  function draw() {
    const scale = window.devicePixelRatio || 1;
    const [wide, high] = [grid.clientWidth, grid.clientHeight].map((size) => Math.round(size * scale));
    if (!wide) return; // not on the page yet: drawn when it is
    Object.assign(canvas, { width: wide, height: high });
    const pen = canvas.getContext("2d");
    const edge = (column) => Math.floor((column * wide) / total);
    shades.forEach((row, i) => {
      const [top, tall] = [Math.round(tops[i] * scale), Math.round(HEIGHT * scale)];
      // The darkest last, so that it is the one seen where several share a pixel.
      for (const column of [...row.keys()].sort((a, b) => row[a] - row[b])) {
        pen.fillStyle = shade(row[column]);
        pen.fillRect(edge(column), top, Math.max(1, edge(column + 1) - edge(column)), tall);
      }
      pen.fillStyle = "#000";
      let end = 0;
      for (const { size } of bands.slice(0, -1)) pen.fillRect(edge((end += size)), top, 1, tall);
    });
  }

  return {
    element: make("div", { class: "explorer-map" }, heads, names, grid),

    /** Set the methods, each with a name, colour and group. */
    rows(methods) {
      let down = -HEIGHT;
      tops = methods.map(({ group }, i) => (down += HEIGHT + (i && group !== methods[i - 1].group ? GAP : 0)));
      names.replaceChildren(...methods.map((method) => called(method, "div")));
      tops.forEach((top, i) => { names.children[i].style.marginTop = `${i && top - tops[i - 1] - HEIGHT}px`; });
      grid.style.height = names.style.height = `${down + HEIGHT}px`;
      grid.setAttribute("aria-rowcount", methods.length);
    },

    /** Set the classes in column order (title, size, whether it is the right one), and the shares [rows, columns]. */
    columns(classes, shares) {
      bands = classes;
      shades = shares;
      total = bands.reduce((sum, { size }) => sum + size, 0);
      heads.replaceChildren(...bands.map(({ title, right }) => make("div", { title, class: right ? "right" : "" }, title)));
      bands.forEach(({ size }, i) => { heads.children[i].style.flexGrow = size; });
      grid.setAttribute("aria-colcount", total);
      draw();
    },

    /** Set the cursor, with its description `says`, and the pinned column; -1: filtered out. */
    mark(row, column, held, method, says) {
      marked += 1; // a new id each time, so that it is read out
      const id = `${name}-${marked}`;
      const cell = make("div", {
        role: "gridcell", id, class: "explorer-cell", "aria-colindex": column + 1, "aria-selected": "true", "aria-label": says,
      });
      cell.style.top = `${tops[row]}px`;
      line.replaceChildren(make("div", { role: "rowheader", class: "explorer-heard" }, method), cell);
      line.setAttribute("aria-rowindex", row + 1);
      line.hidden = column < 0;
      for (const [element, where] of [[cell, column], [selected, column], [pinned, held]]) stand(element, where);
      if (column < 0) grid.removeAttribute("aria-activedescendant");
      else grid.setAttribute("aria-activedescendant", id);
    },

    hover: (column) => stand(hovered, column),
    focus: () => grid.focus({ preventScroll: true }),
  };
}
