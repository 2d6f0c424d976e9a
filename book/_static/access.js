/* Accessibility that the theme lacks, for keyboards and screen readers. */
document.addEventListener("DOMContentLoaded", () => {
  const tables = document.querySelectorAll(".pst-scrollable-table-container");
  const reach = () => {
    for (const each of tables) {
      if (each.scrollWidth > each.clientWidth) each.tabIndex = 0; // so that arrow keys scroll it
      else each.removeAttribute("tabindex");
    }
  };
  reach();
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
