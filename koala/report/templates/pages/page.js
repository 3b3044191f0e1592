// Tables sort by a click on their heads; photographs slide over one another. Without this script both are plain tables.
for (const table of document.querySelectorAll("table:not(.koala-photographs)")) {
  if (!table.tHead || !table.tBodies[0] || table.tBodies[0].rows.length < 3) continue;
  for (const head of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "sort by this column";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(table, head));
  }
}
function value(row, column) {
  const text = (row.cells[column]?.dataset.value ?? row.cells[column]?.textContent ?? "").trim().replace("\u2212", "-").replaceAll(",", "");
  const number = parseFloat(text);
  return Number.isNaN(number) ? text : number;
}
function sort(table, head) {
  const down = head.getAttribute("aria-sort") === "ascending", column = head.cellIndex;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map(row => [value(row, column), row]);
  const order = ([a], [b]) => (a === "") - (b === "") || (down ? -1 : 1) * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  table.tBodies[0].append(...rows.sort(order).map(([, row]) => row));
}
for (const table of document.querySelectorAll("table[data-slides]")) {
  const heads = [...table.tHead.rows[0].cells].filter(cell => cell.textContent).map(cell => cell.textContent);
  const rows = [...table.tBodies[0].rows], images = row => [...row.querySelectorAll("img")];
  const make = (name, properties) => Object.assign(document.createElement(name), properties);
  const choice = (names, chosen, label) => {
    const select = make("select", { ariaLabel: label });
    names.forEach((name, i) => select.append(make("option", { value: i, textContent: name, selected: i === chosen })));
    return select;
  };
  const captions = rows.map((row, i) => row.querySelector("th")?.textContent || "photograph " + (i + 1));
  const left = choice(heads, 0, "left side"), right = choice(heads, Math.max(1, heads.indexOf(table.dataset.slides)), "right side");
  const which = choice(captions.map((text, i) => `${i + 1}: ${text}`), 0, "photograph");
  const under = make("img", { className: "under" }), over = make("img", { className: "over" }), last = make("img", {});
  const range = make("input", { type: "range", min: 0, max: 100, value: 50, ariaLabel: "how much of the left side is shown" });
  const stage = make("div", { className: "stage" });
  stage.append(under, over, range);
  range.addEventListener("input", () => over.style.setProperty("--x", range.value + "%"));
  const slider = make("figure", {}), beside = make("figure", {}), words = [make("figcaption", {}), make("figcaption", {})];
  words[0].append(left, right);
  words[1].append(make("span", { textContent: heads.at(-1) }), which);
  slider.append(words[0], stage);
  beside.append(words[1], last);
  const draw = () => {
    const row = images(rows[which.value]);
    for (const [image, source] of [[over, row[left.value]], [under, row[right.value]], [last, row.at(-1)]]) Object.assign(image, { src: source.src, alt: source.alt });
  };
  for (const select of [left, right, which]) select.addEventListener("change", draw);
  rows.forEach((row, i) => images(row).forEach((image, c) => image.addEventListener("click", () => { which.value = i; if (c) right.value = c; draw(); })));
  draw();
  const both = make("div", { className: "koala-compare" });
  both.append(slider, beside);
  table.parentElement.before(both);
}
