// The gallery: cells, filters, and the dialog that shows a sheet enlarged.
const PAGE = 200; // cells that are shown at first: more make a browser slow
let filter = "all";
let shown = PAGE;
let visible = []; // pictures that pass the filter, in the order of the cells
let opened = 0; // index in `visible` of the picture in the dialog

const cells = data.pictures.map(() => null); // made when they are shown first

function makeCell(picture, index) {
  const item = make("li"), button = make("button", "cell"), facts = make("span", "facts");
  button.type = "button";
  button.append(picture.sheet ? image(picture) : make("span", "none", "no saved sheet"));
  facts.append(make("span", "name", `${picture.kind}/${picture.name}`));
  facts.append(make("span", "verdict"), make("span", "mistake"), make("span", "", numbers(picture)));
  button.append(facts);
  button.addEventListener("click", () => open(visible.indexOf(picture)));
  item.append(button);
  cells[index] = { item, picture, button, verdict: facts.children[1], mistake: facts.children[2] };
  return cells[index];
}

function image(picture) {
  const made = make("img");
  made.src = picture.sheet;
  made.alt = "";
  return made;
}

function numbers(picture) {
  const p = picture.p === null ? "" : `, p ${Number(picture.p.toPrecision(3))}`;
  return `score ${short(picture.score)}${p}`;
}

function color(cell) {
  if (!cell) return;
  const { word, sign, name } = verdict(cell.picture), wrong = mistake(cell.picture);
  cell.verdict.className = `verdict ${name}`;
  cell.verdict.textContent = `${sign} ${word}`;
  cell.mistake.textContent = wrong;
  cell.button.classList.toggle("wrong", wrong !== "");
}

function passes(picture) {
  if (filter === "all") return true;
  if (filter === "missed" || filter === "false alarm") return mistake(picture) === filter;
  return filter === `kind ${picture.kind}`;
}

const urgency = (picture) => ["missed", "false alarm", ""].indexOf(mistake(picture));

// Puts the cells that pass the filter into their order.
function arrange() {
  visible = data.pictures.filter(passes);
  visible.sort((a, b) => urgency(a) - urgency(b) || b.score - a.score);
  const now = visible.slice(0, shown).map((picture) => {
    const index = data.pictures.indexOf(picture);
    return cells[index] || makeCell(picture, index);
  });
  now.forEach(color);
  element("gallery").replaceChildren(...now.map((cell) => cell.item));
  if (!now.length) element("gallery").append(make("li", "note", "No such pictures at this threshold."));
  element("more").hidden = visible.length <= shown;
  element("more").textContent = `Show more (${visible.length - shown} left)`;
}

function showFilters(counts) {
  const known = (number) => (current ? number : 0);
  const choices = [
    ["all", `all ${data.pictures.length}`],
    ["missed", `✕ misses ${known(counts.missed)}`],
    ["false alarm", `! false alarms ${known(counts.alarms)}`],
    ...kinds.map((kind) => [`kind ${kind}`, kind]),
  ];
  const buttons = element("filters");
  if (!buttons.children.length) buttons.append(...choices.map(([key]) => filterButton(key)));
  choices.forEach(([key, text], i) => {
    buttons.children[i].textContent = text;
    buttons.children[i].setAttribute("aria-pressed", key === filter);
  });
}

function filterButton(key) {
  const button = make("button");
  button.type = "button";
  button.addEventListener("click", () => {
    filter = key;
    shown = PAGE;
    showFilters(count());
    arrange();
  });
  return button;
}

function open(index) {
  opened = (index + visible.length) % visible.length;
  const picture = visible[opened], { word, sign } = verdict(picture), wrong = mistake(picture);
  const normalised = picture.normalised === null ? "" : `, normalised ${short(picture.normalised)}`;
  element("viewer-name").textContent = `${picture.kind}/${picture.name}`;
  element("viewer-sheet").hidden = !picture.sheet;
  if (picture.sheet) element("viewer-sheet").src = picture.sheet;
  element("viewer-sheet").alt = `Sheet of ${picture.kind}/${picture.name}`;
  element("viewer-facts").textContent =
    `${sign} ${word}${wrong ? ` (${wrong})` : ""} · ${numbers(picture)}${normalised} · ` +
    `${opened + 1} of ${visible.length} · ${picture.path}${picture.sheet ? "" : " · no saved sheet"}`;
  if (!element("viewer").open) element("viewer").showModal();
}

function startGallery() {
  const step = (by) => open(opened + by);
  element("previous").addEventListener("click", () => step(-1));
  element("next").addEventListener("click", () => step(1));
  element("close").addEventListener("click", () => element("viewer").close());
  element("viewer").addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  element("viewer").addEventListener("close", () => {
    const cell = cells[data.pictures.indexOf(visible[opened])];
    if (cell) cell.button.focus();
  });
  element("more").addEventListener("click", () => { shown += PAGE; arrange(); });
}
