"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const tip = document.getElementById("tip");
  const said = document.getElementById("said");
  const say = (text) => { said.textContent = text; };

  // Controls that choose one panel.
  for (const group of all(".choosers[data-panels]")) {
    const panels = [...document.getElementById(group.dataset.panels).children];
    const selects = all("select", group);
    const choose = (speak) => {
      let seen = null;
      for (const panel of panels) {
        panel.hidden = !selects.every((select) => panel.dataset[select.name] === select.value);
        if (!panel.hidden) seen = panel;
      }
      const caption = seen && seen.querySelector("caption, svg title");
      if (speak) say(caption ? "Showing: " + caption.textContent : "Nothing was measured for this choice");
    };
    group.addEventListener("change", () => choose(true));
    choose(false);
  }

  // Controls that filter a list or the rows of a table.
  for (const group of all(".choosers[data-filters]")) {
    const items = [...document.getElementById(group.dataset.filters).children];
    const counter = document.querySelector(`[data-count="${group.dataset.filters}"]`);
    const unit = counter.textContent.replace(/^\d+ /, "");
    // Of a long list the first items are shown; the rest on demand.
    let most = Number(document.getElementById(group.dataset.filters).dataset.shown || Infinity);
    const more = document.createElement("button");
    more.type = "button";
    more.className = "more";
    document.getElementById(group.dataset.filters).after(more);
    const filter = () => {
      const wanted = all("select", group).filter((select) => select.value);
      let left = 0;
      for (const item of items) {
        const fits = wanted.every((select) => item.dataset[select.name] === select.value);
        item.hidden = !fits || left >= most;
        left += fits ? 1 : 0;
      }
      more.hidden = left <= most;
      more.textContent = `Show all ${left} ${unit}`;
      counter.textContent = left === items.length ? `${left} ${unit}` : `${left} of ${items.length} ${unit}`;
    };
    group.addEventListener("change", () => { filter(); say(counter.textContent); });
    more.addEventListener("click", () => {
      const next = items.findIndex((item) => item.hidden);
      most = Infinity;
      filter();
      items[next].tabIndex = -1;
      items[next].focus();
    });
    filter();
  }

  // Tables that sort by a column: ascending, then descending.
  const sortKey = (cell) => {
    if (cell.dataset.value !== undefined && cell.dataset.value !== "") return Number(cell.dataset.value);
    const text = cell.textContent.trim();
    return text === "–" || cell.classList.contains("none") || cell.dataset.value === "" ? null : text;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  for (const table of all("table.sortable")) {
    const headings = all("thead th", table);
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      heading.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        for (const other of headings) other.setAttribute("aria-sort", "none");
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const body = table.tBodies[0];
        const rows = [...body.rows].map((row) => [sortKey(row.cells[column]), row]);
        rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null) : (down ? -1 : 1) * compare(a, b)));
        body.append(...rows.map(([, row]) => row));
        say(`Sorted by ${button.textContent.trim()}, ${down ? "descending" : "ascending"}`);
      });
    });
  }

  // What a figure says, on hover and on focus; the arrow keys go from cell to cell.
  const sentence = (cell) => {
    if (cell.dataset.tip) return cell.dataset.tip;
    const table = cell.closest("table");
    const row = cell.closest("tr").cells[0].firstChild.textContent.trim();
    const heading = table.tHead.rows[0].cells[cell.cellIndex];
    const column = (heading.querySelector("button") || heading).firstChild.textContent.trim();
    const { value, n, lower, upper } = cell.dataset;
    if (value === undefined) return `${row}, ${column}: not measured or undefined`;
    const spread = lower === undefined ? "no interval" : `95 % interval ${(+lower).toFixed(3)} to ${(+upper).toFixed(3)}`;
    const few = cell.classList.contains("few") ? "; too few images to judge" : "";
    return `${row}, ${column}: ${(+value).toFixed(4)}; ${spread}; n = ${(+n).toLocaleString("en")}${few}`;
  };
  const show = (target) => {
    tip.textContent = sentence(target);
    tip.hidden = false;
    const box = target.getBoundingClientRect();
    const left = Math.min(Math.max(8, box.left), document.documentElement.clientWidth - tip.offsetWidth - 8);
    const above = box.top - tip.offsetHeight - 6;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${above > 4 ? above : box.bottom + 6}px`;
  };
  const hide = () => { tip.hidden = true; };
  const told = ".grid td, [data-tip]";
  // A pointer that rests, or a page that scrolls to what has the focus, does not take away what is told of that.
  let dismissed = false;
  const settle = () => {
    const focused = document.activeElement;
    const pointed = document.querySelector(told.split(", ").map((part) => `${part}:hover`).join(", "));
    if (focused && focused.matches(told) && !dismissed) show(focused);
    else if (pointed) show(pointed);
    else hide();
  };
  document.addEventListener("pointerover", (event) => {
    const target = event.target.closest(told);
    if (target) show(target); else settle();
  });
  document.addEventListener("focusin", (event) => {
    dismissed = false;
    const target = event.target.closest(told);
    if (!target) return hide();
    target.setAttribute("aria-describedby", "tip");
    show(target);
  });
  document.addEventListener("focusout", (event) => {
    if (event.target.matches(told)) event.target.removeAttribute("aria-describedby");
    hide();
  });
  document.addEventListener("scroll", settle, true);
  for (const table of all("table.grid")) {
    const first = table.querySelector("tbody td");
    if (first) first.tabIndex = 0;
  }
  const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      dismissed = true;
      return hide();
    }
    const cell = event.target.closest(".grid td");
    const step = steps[event.key];
    if (!cell || !step) return;
    event.preventDefault();
    const rows = [...cell.closest("tbody").rows];
    const row = rows[rows.indexOf(cell.parentElement) + step[0]];
    const next = row && row.cells[cell.cellIndex + step[1]];
    if (!next || next.tagName !== "TD") return;
    cell.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });

  // Tables that are wider than the screen say so.
  const measure = () => {
    for (const region of all(".scroll")) region.classList.toggle("wide", region.scrollWidth > region.clientWidth + 1);
  };
  addEventListener("resize", measure);
  document.addEventListener("change", measure);
  document.addEventListener("toggle", measure, true);
  measure();

  // On paper everything that can be folded is open.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not(.artifact):not([open])");
    for (const each of folded) each.open = true;
    for (const button of all("button.more:not([hidden])")) button.click();
  });
  addEventListener("afterprint", () => { for (const each of folded) each.open = false; });
})();
