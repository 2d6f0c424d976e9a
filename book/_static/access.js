/* What the theme leaves out for those who read by keyboard or by ear. */
document.addEventListener("DOMContentLoaded", () => {
  const tables = document.querySelectorAll(".pst-scrollable-table-container");
  const reach = () => {
    for (const each of tables) {
      if (each.scrollWidth > each.clientWidth) each.tabIndex = 0; // arrow keys then scroll it
      else each.removeAttribute("tabindex");
    }
  };
  reach();
  addEventListener("resize", reach);
  for (const each of document.querySelectorAll(".citation-list[role=list]")) each.removeAttribute("role"); // of no items
});
