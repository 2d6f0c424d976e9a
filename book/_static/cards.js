/* A card with the glossary's sentence on a term, shown when the term is hovered or focused. */
document.addEventListener("DOMContentLoaded", () => {
  const card = document.createElement("div");
  card.id = "term-card";
  card.setAttribute("role", "tooltip");
  card.hidden = true;
  document.body.append(card);
  let of = null;

  const hide = () => {
    of?.removeAttribute("aria-describedby");
    of = null;
    card.hidden = true;
  };
  const show = (term) => {
    hide();
    of = term;
    card.textContent = term.dataset.card;
    card.hidden = false;
    term.setAttribute("aria-describedby", card.id);
    const at = term.getBoundingClientRect();
    card.style.left = `${Math.max(8, Math.min(at.left, innerWidth - card.offsetWidth - 8))}px`;
    const below = at.bottom + 6;
    card.style.top = `${below + card.offsetHeight > innerHeight ? at.top - card.offsetHeight - 6 : below}px`;
  };
  for (const term of document.querySelectorAll("a.term[title]")) {
    term.dataset.card = term.title;
    term.removeAttribute("title"); // or the browser would show it, too
    term.addEventListener("mouseenter", () => show(term));
    term.addEventListener("focus", () => show(term));
    term.addEventListener("mouseleave", hide);
    term.addEventListener("blur", hide);
  }
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
});
