// The explorer: how each method ranks the training examples for one validation example at a time.
// It reads the JSON beside it and builds the view with plain DOM calls; text from the data is never read as HTML.

/** Each training example's rank, percent (null: no number), whether it is tied, and the share of others it outranks. */
function unpack(written, scores, total, digits) {
  const width = written.length / total;
  const ranks = Array.from({ length: total }, (_, i) =>
    [...written.slice(i * width, (i + 1) * width)].reduce((sum, digit) => 64 * sum + digits.indexOf(digit), 0));
  const percents = []; // by rank
  let percent = 100;
  for (const digit of scores) {
    for (let bit = 32; bit; bit >>= 1) {
      if (digits.indexOf(digit) & bit) percents.push(percent < -100 ? null : percent);
      else percent -= 1;
    }
  }
  const alike = new Map();
  ranks.forEach((rank) => alike.set(rank, (alike.get(rank) || 0) + 1));
  return ranks.map((rank) => ({
    rank,
    percent: percents[rank - 1],
    tied: alike.get(rank) > 1,
    share: total > 1 ? 1 - (rank - 1 + (alike.get(rank) - 1) / 2) / (total - 1) : 1,
  }));
}

function start(root, data) {
  // Indices into the data; `pinned` is null for none, `label` -1 for all classes.
  const state = { task: 0, val: 0, train: 0, row: 0, pinned: null, label: -1, search: "", top: data.top };
  const known = new Map();
  let shown = []; // the training examples that match the filters, by class

  const task = () => data.tasks[state.task];
  const named = (label) => task().classes[label] || "no class";
  const judged = () => task().classes.length > 1; // with one class, no example can be of the wrong one
  const marks = (row) => {
    const key = `${state.task} ${row} ${state.val}`;
    const { ranks, scores } = task().rows[row];
    if (!known.has(key)) known.set(key, unpack(ranks[state.val], scores[state.val], task().train.length, data.digits));
    return known.get(key);
  };
  const scored = ({ percent }) => `score ${percent === null ? "no number" : `${percent}\u00a0%`.replace("-", "−")}`;
  const placed = (row, train) => {
    const mark = marks(row)[train];
    return `rank ${mark.rank} of ${task().train.length}${mark.tied ? " (tied)" : ""}, ${scored(mark)}`;
  };
  const best = (row, among) => [...among].sort((a, b) => marks(row)[a].rank - marks(row)[b].rank || a - b);
  const right = (train) => (task().train[train][0] === task().val[state.val][0] ? "right" : "wrong");
  const about = (train) => `training example ${train + 1}, ${named(task().train[train][0])}`;
  const counted = () =>
    (shown.length ? `${shown.length} of ${task().train.length} training examples` : "No training example matches");
  const short = (text, longest) => (text.length > longest ? `${text.slice(0, longest - 1)}…` : text);
  const option = (value, text) => make("option", { value }, text);

  // The parts of the view, from top to bottom.
  const controls = make("div", { class: "explorer-controls" });
  const choice = (title, tag, event, act) => {
    const element = make(tag, { [`on${event}`]: () => act(element.value) });
    controls.append(make("label", {}, title, element));
    return element;
  };
  const button = (text, act, label = text) => make("button", { type: "button", "aria-label": label, onclick: act }, text);
  const step = (by) => () => ask((state.val + by + task().val.length) % task().val.length);
  const tasks = choice("Task", "select", "change", (value) => turnTo(Number(value)));
  const vals = choice("Validation example", "select", "change", (value) => ask(Number(value)));
  controls.append(make("span", {}, button("Previous", step(-1), "Previous validation example"),
    button("Next", step(1), "Next validation example")));
  const labels = choice("Class", "select", "change", (value) => narrow({ label: Number(value) }));
  const search = choice("Search the training examples", "input", "input", (value) => narrow({ search: value }));
  const tops = choice("Show the top", "select", "change", (value) => narrow({ top: Number(value) }));
  search.type = "search";
  const asked = make("div", { class: "explorer-cards" });
  const found = make("p", { role: "status" });
  const map = heatMap({ hover, press, select: (row, column) => select(row, shown[column]) });
  const readout = make("div", { class: "explorer-readout" });
  const help = make("p", { class: "explorer-help" },
    "Darker: outranks more of the others. A score is in percent of the method's largest for this validation example. Point " +
    "to read; click, or use the arrow keys, to select (page keys: the next class); Enter pins what is selected, Escape lets go.");
  const chosen = make("div", { class: "explorer-cards explorer-chosen" });
  const lists = make("div", { class: "explorer-lists" });

  // What the reader does.
  function turnTo(index) {
    Object.assign(state, { task: index, val: 0, row: 0, pinned: null, label: -1 });
    state.train = best(0, task().train.keys())[0];
    fill();
    tell();
  }
  function ask(index) {
    state.val = index;
    answer();
    tell();
  }
  function narrow(change) {
    Object.assign(state, change);
    answer();
  }
  function select(row, train) {
    if (train === undefined) return;
    Object.assign(state, { row, train });
    mark();
    tell();
  }
  function pin(train) {
    state.pinned = train;
    mark();
  }
  function press(event) {
    const spot = shown.indexOf(state.train);
    const label = (column) => task().train[shown[column]][0];
    const nextClass = () => shown.findIndex((_, column) => column > spot && label(column) !== label(Math.max(0, spot)));
    const classBefore = () => {
      const last = Math.max(0, spot - 1); // from the first of a class to the first of the class before
      return shown.findIndex((_, column) => label(column) === label(last));
    };
    const columns = {
      ArrowLeft: () => Math.max(0, spot - 1), ArrowRight: () => Math.min(shown.length - 1, spot + 1),
      Home: () => 0, End: () => shown.length - 1, PageUp: classBefore, PageDown: nextClass,
    };
    const rows = { ArrowUp: Math.max(0, state.row - 1), ArrowDown: Math.min(task().rows.length - 1, state.row + 1) };
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") pin(state.pinned === state.train ? null : state.train);
    else if (event.key === "Escape") pin(null);
    else if (event.key in columns && shown.length) select(state.row, shown[columns[event.key]()]);
    else if (event.key in rows) select(rows[event.key], state.train);
    else return;
    event.preventDefault();
    event.stopPropagation(); // JupyterLab and the book's theme have keys of their own
  }

  // What is redrawn: a task; a validation example and the matches; the selection; the readout under the pointer.
  function fill() {
    const { classes, train, val, numbers, of, rows } = task();
    const counts = classes.map((_, label) => train.filter((each) => each[0] === label).length);
    vals.replaceChildren(...val.map(([, prompt], i) => option(i, `${numbers[i]} of ${of}: ${short(prompt, 80)}`)));
    labels.replaceChildren(option(-1, "All classes"),
      ...counts.flatMap((count, label) => (count ? [option(label, `${named(label)} (${count})`)] : [])));
    labels.parentNode.hidden = !judged();
    map.rows(rows);
    answer();
  }
  function answer() {
    const { train, val, numbers, classes, rows } = task();
    [tasks.value, vals.value, labels.value, tops.value] = [state.task, state.val, state.label, state.top];
    if (search.value !== state.search) search.value = state.search;
    const words = state.search.toLowerCase();
    const fits = ([label, ...texts]) =>
      (state.label < 0 || label === state.label) && texts.some((text) => text.toLowerCase().includes(words));
    shown = [...train.keys()].filter((i) => fits(train[i])).sort((a, b) => train[a][0] - train[b][0] || a - b);
    found.textContent = counted();
    const [label, prompt, response] = val[state.val];
    map.columns(
      classes.map((_, i) => ({
        title: named(i), size: shown.filter((each) => train[each][0] === i).length, right: judged() && i === label,
      })).filter(({ size }) => size),
      rows.map((_, row) => shown.map((i) => marks(row)[i].share)));
    asked.replaceChildren(card(`Validation example ${numbers[state.val]}, ${named(label)}`, prompt, response));
    lists.replaceChildren(...data.groups.flatMap((title, group) => {
      const own = [...rows.keys()].filter((row) => rows[row].group === group);
      const side = () => make("div", { class: "explorer-side" }, ...own.map(list));
      return own.length ? [make("p", { class: "explorer-group" }, title), side()] : [];
    }));
    mark();
  }
  function mark() {
    const { train, pinned, row } = state;
    const [also, held] = [pinned !== null && pinned !== train, pinned === train];
    const says = `${about(train)}: ${placed(row, train)}${held ? ", pinned" : ""}`;
    map.mark(row, shown.indexOf(train), shown.indexOf(pinned), task().rows[row].name, says);
    const act = (text, which) => button(text, () => { pin(which); map.focus(); });
    const cards = [[train, "Selected", held ? act("Let go", null) : act("Pin", train)]];
    if (also) cards.push([pinned, "Pinned", act("Let go", null)]);
    chosen.replaceChildren(...cards.map(([each, title, ...acts]) => {
      const [, prompt, response] = task().train[each];
      return card(`${title}: ${about(each)}`, prompt, response, ...acts);
    }));
    for (const each of lists.querySelectorAll("button")) {
      each.setAttribute("aria-pressed", Number(each.dataset.train) === train);
      each.classList.toggle("pinned", Number(each.dataset.train) === pinned);
    }
    for (const each of lists.querySelectorAll(".explorer-places")) {
      const place = (which, title) => make("p", {}, `${title}: ${placed(Number(each.dataset.row), which)}`);
      each.replaceChildren(place(train, "Selected"), ...(also ? [place(pinned, "Pinned")] : []));
    }
    hover();
  }
  function hover(row, column) {
    const [method, train] = row === undefined ? [state.row, state.train] : [row, shown[column]];
    const [, prompt, response] = task().train[train];
    map.hover(row === undefined ? -1 : column);
    readout.replaceChildren(
      make("p", {}, make("b", {}, task().rows[method].name), `: ${about(train)}, ${placed(method, train)}`),
      make("p", {}, `${prompt} → ${response}`));
  }
  function card(title, prompt, response, ...acts) {
    const head = make("p", {}, make("b", {}, title), ...acts);
    return make("div", { class: "explorer-card" }, head, make("p", {}, prompt), make("p", {}, `→ ${response}`));
  }
  function list(row) {
    const items = best(row, shown).slice(0, state.top).map((i) => {
      const [label, prompt, response] = task().train[i];
      const of = judged() ? right(i) : "";
      const says = `${marks(row)[i].rank}. ${named(label)}${of && `, class ${of}`}, ${scored(marks(row)[i])}`;
      const act = { type: "button", class: of, "data-train": i, onclick: () => select(row, i) };
      return make("li", {}, make("button", act, make("b", {}, says), make("span", {}, `${prompt} → ${response}`)));
    });
    const none = make("p", {}, "No training example matches");
    return make("div", { class: "explorer-list" }, called(task().rows[row], "p"),
      items.length ? make("ol", {}, ...items) : none, make("div", { class: "explorer-places", "data-row": row }));
  }

  // The page's address: which view, task, validation and training example.
  function view() {
    const place = [...document.querySelectorAll("[data-explorer]")].indexOf(root);
    return `explorer${place > 0 ? place + 1 : ""}`;
  }
  function tell() {
    found.textContent = counted(); // replaces the message about a link that names no example
    const link = `#${view()}-${task().key}-${task().numbers[state.val]}-${state.train + 1}`;
    try {
      history.replaceState(history.state, "", location.pathname + location.search + link);
    } catch { /* a frame may have no address of its own */ }
  }
  function follow() {
    const [, which, key, number, train] = /^#(explorer\d*)-(\w+)-(\d+)-(\d+)$/.exec(location.hash) || [];
    if (!root.isConnected || which !== view()) return;
    const index = data.tasks.findIndex((each) => each.key === key);
    const val = index < 0 ? -1 : data.tasks[index].numbers.indexOf(Number(number));
    if (val >= 0 && data.tasks[index].train[train - 1]) {
      Object.assign(state, { task: index, val, train: train - 1, row: 0, pinned: null, label: -1, search: "" });
      fill();
    } else found.textContent = "The link names an example that is not on this page.";
    root.scrollIntoView();
    // Again, once everything above has its height:
    if (document.readyState !== "complete") window.addEventListener("load", () => root.scrollIntoView(), { once: true });
  }

  root.append(make("div", { class: "explorer-view", "data-lm-suppress-shortcuts": "true" }, // JupyterLab's, while focused
    controls, asked, found, map.element, readout, help, chosen, lists));
  tasks.replaceChildren(...data.tasks.map(({ title }, i) => option(i, title)));
  tops.replaceChildren(...[...new Set([data.top, 3, 5, 10, 20])].sort((a, b) => a - b).map((top) => option(top, String(top))));
  state.train = best(0, task().train.keys())[0];
  fill();
  follow();
  window.addEventListener("hashchange", follow);
}

const here = document.currentScript && document.currentScript.closest("[data-explorer]");
for (const root of here ? [here] : document.querySelectorAll("[data-explorer]")) {
  if (!root.started) {
    root.started = true; // a property, which a saved page loses
    root.querySelectorAll(".explorer-view").forEach((view) => view.remove());
    start(root, JSON.parse(root.querySelector("script[type='application/json']").textContent));
  }
}
