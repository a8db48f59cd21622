// The slider, its buttons, and what follows a change of the threshold.
const slider = element("slider");

function describe(stop) {
  if (!stop) return "no threshold";
  const from = `score ≥ ${short(stop.threshold)} is defective`;
  if (stop.rate === null) return stop.name ? `${stop.name}: ${from}` : from;
  return `${percent(stop.rate)}${stop.extrapolated ? " (extrapolated)" : ""}: ${from}`;
}

function choose(stop, index) {
  current = stop;
  slider.value = index;
  update();
  arrange();
}

function update() {
  const text = describe(current);
  element("chosen").textContent = text;
  slider.setAttribute("aria-valuetext", text);
  for (const button of element("presets").children) {
    button.setAttribute("aria-pressed", current !== null && Number(button.value) === current.threshold);
  }
  showCounts();
  showThreshold();
  cells.forEach(color);
}

function startSlider() {
  slider.max = stops.length - 1;
  element("slider-label").textContent = data.normal ? "False-alarm rate" : "Score threshold";
  // Colours change while the slider moves; cells change places when it stops.
  slider.addEventListener("input", () => { current = stops[slider.value]; update(); });
  slider.addEventListener("change", arrange);
  element("presets").append(...presets.map(({ name, stop }) => {
    const button = make("button", "", name);
    button.type = "button";
    button.value = stop.threshold;
    button.addEventListener("click", () => choose(stop, nearest(stop.threshold)));
    return button;
  }));
  showTicks();
}

// Labels of some stops, as many as there is room for, and a mark below the extrapolated ones.
function showTicks() {
  element("ticks").replaceChildren();
  let free = -1; // the place after the last label, in percent
  const last = stops.length - 1, wide = Math.max(10, 6000 / Math.max(slider.clientWidth, 300));
  const place = (i) => (last ? (100 * i) / last : 0);
  stops.forEach((stop, i) => {
    if (i > 0 && i < last && (place(i) < free || place(i) > 100 - wide)) return;
    const text = stop.rate === null ? short(stop.threshold) : percent(stop.rate);
    addTick(stop.extrapolated ? `${text} extrapolated` : text, stop, place(i));
    free = place(i) + wide * (stop.extrapolated ? 2.2 : 1);
  });
  const promised = stops.findIndex((stop) => !stop.extrapolated);
  if (promised > 0) {
    const zone = make("div", "zone");
    zone.style.width = `${place(promised)}%`;
    element("ticks").append(zone);
  }
}

function addTick(text, stop, place) {
  const tick = make("span", stop.extrapolated ? "extrapolated" : "", text);
  tick.classList.toggle("first", stop === stops[0]);
  tick.classList.toggle("last", stop === stops[stops.length - 1]);
  tick.style.left = `${place}%`;
  element("ticks").append(tick);
}

function start() {
  startSlider();
  startGallery();
  drawHistogram();
  const preset = presets.find(({ key }) => key === data.start);
  choose(preset ? preset.stop : null, preset ? nearest(preset.stop.threshold) : stops.length - 1);
  window.addEventListener("resize", () => { showTicks(); drawHistogram(); });
}

start();
