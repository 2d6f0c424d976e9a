/* Accessibility that the theme lacks, for keyboards and screen readers. */
document.addEventListener("DOMContentLoaded", () => {
  const wide = document.querySelectorAll(".pst-scrollable-table-container, .bd-article figure, .bd-article div.cell_output");
  const reach = () => {
    for (const each of wide) {
      const scrolls = each.scrollWidth > each.clientWidth && getComputedStyle(each).overflowX === "auto";
      if (scrolls) each.tabIndex = 0; // so that arrow keys scroll it
      else each.removeAttribute("tabindex");
    }
  };
  reach();
  addEventListener("load", reach); // pictures have their widths
  addEventListener("resize", reach);
  for (const each of document.querySelectorAll(".citation-list[role=list]")) each.removeAttribute("role"); // it has no list items
  const open = () => { // what is folded away opens when a link leads there
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let fold = target && target.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
    if (target && target.closest("details")) target.scrollIntoView();
  };
  open();
  addEventListener("hashchange", open);
});
