// Verdicts at the current threshold, the confusion table and the counts per kind.
let current = null; // the stop in use; null where there is no threshold yet

const called = (picture) => current && picture.score >= current.threshold;

function mistake(picture) {
  if (!current || called(picture) === picture.defective) return "";
  return picture.defective ? "missed" : "false alarm";
}

function verdict(picture) {
  if (!current) return { word: "unknown", sign: "?", name: "unknown" };
  return called(picture)
    ? { word: "defective", sign: "■", name: "defective" }
    : { word: "good", sign: "○", name: "good" };
}

// 95 % interval of a rate (Wilson 1927).
function wilson(count, total) {
  const z = 1.959963984540054, rate = count / total, z2 = (z * z) / total;
  const middle = (rate + z2 / 2) / (1 + z2);
  const half = (z * Math.sqrt((rate * (1 - rate)) / total + z2 / (4 * total))) / (1 + z2);
  return [count ? middle - half : 0, count < total ? middle + half : 1];
}

function rateText(count, total) {
  if (!total || !current) return "–";
  const [low, high] = wilson(count, total);
  return `${percent(count / total)} (95 %: ${percent(low)} to ${percent(high)})`;
}

function count() {
  const counts = { passed: 0, alarms: 0, missed: 0, found: 0 };
  for (const picture of data.pictures) {
    const yes = called(picture);
    counts[picture.defective ? (yes ? "found" : "missed") : yes ? "alarms" : "passed"]++;
  }
  return counts;
}

function showCounts() {
  const counts = count();
  for (const [id, number] of Object.entries(counts)) element(id).textContent = current ? number : "–";
  const good = counts.passed + counts.alarms, defective = counts.missed + counts.found;
  element("alarm-rate").textContent = rateText(counts.alarms, good);
  element("recall").textContent = rateText(counts.found, defective);
  element("sentence").textContent = current
    ? `${counts.found} of ${defective} defective pictures found, ` +
      `${counts.alarms} of ${good} good pictures called defective.`
    : "There is no threshold: move the slider to try one.";
  showKinds();
  showFilters(counts);
}

const kinds = [...new Set(data.pictures.map((picture) => picture.kind))].sort();

function showKinds() {
  element("kinds").replaceChildren(...kinds.map((kind) => {
    const members = data.pictures.filter((picture) => picture.kind === kind);
    const row = make("tr"), head = make("th", "", kind);
    head.scope = "row";
    row.append(head, make("td", "", members.length), make("td", "", current ? members.filter(called).length : "–"));
    return row;
  }));
}
