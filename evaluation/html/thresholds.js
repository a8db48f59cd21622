"use strict";

// Data, and the thresholds that the slider and the buttons offer.
const data = JSON.parse(document.getElementById("data").textContent);
const MANTISSAS = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
const SCORE_STEPS = 200;

const element = (id) => document.getElementById(id);

function make(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

// The lowest and the highest value. Math.min takes no more arguments than the stack has room for.
function range(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

const percent = (rate) => `${Number((100 * rate).toPrecision(3))}\u00a0%`;
const short = (value) => String(Number(value.toPrecision(4)));

// The next larger float32 of the ⌈(1 − rate)(n + 1)⌉-th smallest normal score.
function thresholdFor(rate, normal) {
  const rank = Math.ceil((1 - rate) * (normal.pictures + 1) - 1e-9) - 1;
  const value = normal.image[normal.ranks.findIndex((kept) => kept >= rank)];
  return value + Math.max(Math.abs(value) * 2 ** -23, 1e-30);
}

function rateStops(normal, promise) {
  const smallest = 1 / (normal.pictures + 1);
  const rates = new Set([smallest]);
  for (let decade = -6; decade < 0; decade++) {
    for (const mantissa of MANTISSAS) rates.add(Number(`${mantissa}e${decade}`));
  }
  const stops = [...rates]
    .filter((rate) => rate >= smallest && rate <= 0.5 && rate !== (promise && promise.fpr))
    .map((rate) => ({ rate, threshold: thresholdFor(rate, normal), extrapolated: false }));
  if (promise) stops.push(promiseStop(promise));
  return stops.sort((a, b) => a.rate - b.rate);
}

const promiseStop = ({ fpr, threshold, extrapolated }) => ({ rate: fpr, threshold, extrapolated });

function scoreStops(scores, thresholds) {
  const [low, high] = range(scores), step = niceStep((high - low) / SCORE_STEPS || 1);
  const first = Math.floor(low / step), number = Math.ceil(high / step) - first + 1;
  const even = Array.from({ length: number }, (_, i) => (first + i) * step);
  const known = thresholds.filter((threshold) => threshold !== null);
  return [...new Set([...even, ...known])]
    .sort((a, b) => a - b)
    .map((threshold) => ({ rate: null, threshold, extrapolated: false }));
}

const presets = [
  data.thresholds.fpr && {
    key: "fpr",
    name: `${data.thresholds.fpr.extrapolated ? "extrapolated" : "promised"} ${percent(data.thresholds.fpr.fpr)}`,
    stop: promiseStop(data.thresholds.fpr),
  },
  ...[["f1", "best F1"], ["given", "given threshold"]].map(([key, name]) =>
    data.thresholds[key] !== null && {
      key, name: `${name}: ${short(data.thresholds[key])}`,
      stop: { rate: null, threshold: data.thresholds[key], extrapolated: false, name },
    }),
].filter(Boolean);

const scores = data.pictures.map((picture) => picture.score);
const stops = data.normal
  ? rateStops(data.normal, data.thresholds.fpr)
  : scoreStops(scores, [data.thresholds.f1, data.thresholds.given]);

// The stop whose threshold is nearest.
function nearest(threshold) {
  const distances = stops.map((stop) => Math.abs(stop.threshold - threshold));
  return distances.indexOf(Math.min(...distances));
}
