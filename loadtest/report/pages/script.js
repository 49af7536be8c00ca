// The page is whole without this: it adds a readable tooltip with a cross-hair in
// place of the browser's own, and tables that can be sorted.
(() => {
  "use strict";
  const svg = "http://www.w3.org/2000/svg";

  for (const chart of document.querySelectorAll("svg.chart")) {
    const figure = chart.closest("figure");
    const bands = chart.querySelector(".bands");
    if (!figure || !bands || !bands.children.length) continue;
    const texts = new Map();
    for (const band of bands.children) {
      const title = band.querySelector("title");
      texts.set(band, title.textContent);
      title.remove();
    }
    const tip = document.createElement("div");
    tip.className = "tip";
    tip.hidden = true;
    figure.append(tip);
    const hair = document.createElementNS(svg, "line");
    hair.setAttribute("class", "crosshair");
    hair.setAttribute("visibility", "hidden");
    bands.before(hair);

    const show = (band, event) => {
      tip.textContent = texts.get(band);
      tip.hidden = false;
      if (band.dataset.centre) {
        const y = band.y.baseVal.value;
        const at = { x1: band.dataset.centre, x2: band.dataset.centre, y1: y, y2: y + band.height.baseVal.value };
        for (const [name, value] of Object.entries(at)) hair.setAttribute(name, value);
        hair.setAttribute("visibility", "visible");
      }
      const box = figure.getBoundingClientRect();
      const x = event.clientX - box.left;
      const left = x + 16 + tip.offsetWidth > box.width ? x - 16 - tip.offsetWidth : x + 16;
      tip.style.left = Math.max(4, left) + "px";
      tip.style.top = Math.max(4, event.clientY - box.top - tip.offsetHeight - 10) + "px";
    };
    const hide = () => {
      tip.hidden = true;
      hair.setAttribute("visibility", "hidden");
    };
    bands.addEventListener("pointermove", (event) => {
      if (texts.has(event.target)) show(event.target, event);
    });
    bands.addEventListener("pointerleave", hide);
  }

  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    const body = table.tBodies[0];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const number = head.classList.contains("n");
        const down = head.ariaSort ? head.ariaSort === "ascending" : number;
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].sort((a, b) => {
          const [x, y] = [value(a, column), value(b, column)];
          return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
        });
        body.append(...rows);
      });
    });
  }
})();
