// The histograms of normal, good and defective scores, one above the other on one axis.
const SVG = "http://www.w3.org/2000/svg";
const BINS = 48;
const ROW = 92, BAR = 64, TOP = 22; // pixels: height of a row, of its highest bar, above the rows
let space = 280; // pixels: width of the drawing
let scale = (value) => value;

function draw(parent, tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

function groups() {
  const of = (defective) => data.pictures.filter((one) => one.defective === defective).map((one) => one.score);
  const found = [
    { name: "good", scores: of(false), total: of(false).length, text: "good test pictures" },
    { name: "defective", scores: of(true), total: of(true).length, text: "defective test pictures" },
  ];
  if (data.normal) {
    const text = `normal scores (${data.normal.source})`;
    found.unshift({ name: "normal", scores: data.normal.image, total: data.normal.pictures, text });
  }
  return found.filter((group) => group.scores.length);
}

// Pictures per bin. A normal score stands for the pictures between its rank and the one before.
function heights(group, low, width) {
  const bins = new Array(BINS).fill(0);
  group.scores.forEach((score, i) => {
    const weight = group.name === "normal" ? data.normal.ranks[i] - (i ? data.normal.ranks[i - 1] : -1) : 1;
    bins[Math.min(BINS - 1, Math.floor((score - low) / width))] += weight;
  });
  return bins;
}

function drawHistogram() {
  const all = groups(), values = all.flatMap((group) => group.scores);
  const [low, high] = range(values);
  const width = (high - low) / BINS || 1, bottom = TOP + ROW * all.length;
  space = Math.max(element("histogram").clientWidth, 280);
  scale = (value) => Math.max(0, Math.min(1, (value - low) / (width * BINS))) * (space - 20) + 10;
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${space} ${bottom + 24}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Histograms of image scores: ${all.map((one) => `${one.total} ${one.text}`).join(", ")}`);
  all.forEach((group, row) => drawRow(svg, group, heights(group, low, width), low, width, TOP + ROW * (row + 1)));
  drawAxis(svg, low, low + width * BINS, bottom);
  draw(svg, "line", { id: "threshold", class: "threshold", y1: TOP - 4, y2: bottom });
  draw(svg, "text", { id: "threshold-value", class: "value", y: 12 });
  element("histogram").replaceChildren(svg);
  showThreshold();
}

function drawRow(svg, group, bins, low, width, base) {
  const highest = Math.max(...bins);
  bins.forEach((number, i) => {
    if (!number) return;
    const x = scale(low + i * width), next = scale(low + (i + 1) * width);
    const height = Math.max(2, (BAR * number) / highest);
    draw(svg, "rect", { class: group.name, x: x + 0.5, width: Math.max(next - x - 1, 1), y: base - height, height });
  });
  draw(svg, "line", { class: "axis", x1: 10, x2: space - 10, y1: base, y2: base });
  draw(svg, "text", { class: "label", x: space - 10, y: base - BAR - 7, "text-anchor": "end" }, `${group.total} ${group.text}`);
}

function drawAxis(svg, low, high, bottom) {
  const step = niceStep(((high - low) * 70) / space);
  for (let value = Math.ceil(low / step) * step; value <= high; value += step) {
    draw(svg, "text", { x: scale(value), y: bottom + 17, "text-anchor": "middle" }, short(value));
  }
}

function niceStep(rough) {
  const decade = 10 ** Math.floor(Math.log10(rough));
  return decade * [1, 2, 5, 10].find((factor) => factor * decade >= rough);
}

function showThreshold() {
  const line = element("threshold"), text = element("threshold-value");
  if (!line) return;
  line.style.display = text.style.display = current ? "" : "none";
  if (!current) return;
  const x = scale(current.threshold), right = x > space / 2;
  line.setAttribute("x1", x);
  line.setAttribute("x2", x);
  text.setAttribute("x", right ? x + 1 : x - 1);
  text.setAttribute("text-anchor", right ? "end" : "start");
  text.textContent = `threshold ${short(current.threshold)}`;
}
