export default function ({ data, parentElement, setStateValue }) {
  const state = (parentElement.drawing ??= { kind: "rectangle", shapes: data.shapes, now: null });
  let root = parentElement.querySelector(".region");
  if (!root) {
    root = document.createElement("div");
    root.className = "region";
    root.append(document.createElement("div"), document.createElement("canvas"));
    root.firstChild.className = "bar";
    parentElement.append(root);
  }
  const [bar, canvas] = root.children;
  const pen = canvas.getContext("2d");
  const send = () => { setStateValue("shapes", state.shapes); draw(); };
  const buttons = Object.entries(data.words).map(([name, word]) => {
    const button = document.createElement("button");
    button.textContent = word;
    button.name = name;
    button.onclick = () => {
      if (name === "undo") { state.shapes = state.shapes.slice(0, -1); send(); }
      else if (name === "clear") { state.shapes = []; send(); }
      else { state.kind = name; press(); }
    };
    return button;
  });
  const press = () => buttons.forEach((button) => {
    if (button.name !== "undo" && button.name !== "clear") {
      button.setAttribute("aria-pressed", String(button.name === state.kind));
    }
  });
  bar.replaceChildren(...buttons);
  press();

  const picture = new Image();
  const outline = (shape) => {
    const path = new Path2D();
    const points = shape.points.map(([x, y]) => [x * canvas.width, y * canvas.height]);
    const [[x0, y0], [x1, y1]] = [points[0], points.at(-1)];
    const box = [Math.min(x0, x1), Math.min(y0, y1), Math.abs(x1 - x0), Math.abs(y1 - y0)];
    if (shape.kind === "rectangle") path.rect(...box);
    else if (shape.kind === "ellipse") {
      path.ellipse(box[0] + box[2] / 2, box[1] + box[3] / 2, box[2] / 2, box[3] / 2, 0, 0, 7);
    } else {
      points.forEach(([x, y], i) => (i ? path.lineTo(x, y) : path.moveTo(x, y)));
      path.closePath();
    }
    return path;
  };
  const draw = () => {
    if (!picture.naturalWidth) return;
    const shapes = [...state.shapes, ...(state.now ? [state.now] : [])].map(outline);
    pen.globalAlpha = 1;
    pen.drawImage(picture, 0, 0);
    if (!shapes.length) return;
    pen.fillStyle = "rgba(0, 0, 0, 0.6)";  // what lies outside the region
    pen.fillRect(0, 0, canvas.width, canvas.height);
    for (const shape of shapes) {
      pen.save();
      pen.clip(shape);
      pen.drawImage(picture, 0, 0);
      pen.restore();
    }
    pen.strokeStyle = "#ffd24a";
    pen.lineWidth = 2;
    shapes.forEach((shape) => pen.stroke(shape));
  };
  picture.onload = () => {
    [canvas.width, canvas.height] = [picture.naturalWidth, picture.naturalHeight];
    draw();
  };
  picture.src = data.picture;

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const share = (value, start, length) => Math.min(1, Math.max(0, (value - start) / length));
    return [share(event.clientX, box.left, box.width), share(event.clientY, box.top, box.height)];
  };
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    state.now = { kind: state.kind, points: [place(event), place(event)] };
  };
  canvas.onpointermove = (event) => {
    if (!state.now) return;
    if (state.kind !== "freehand") state.now.points.pop();
    if (state.now.points.length < 2000) state.now.points.push(place(event));
    draw();
  };
  canvas.onpointerup = canvas.onpointercancel = () => {
    if (!state.now) return;
    const xs = state.now.points.map(([x]) => x), ys = state.now.points.map(([, y]) => y);
    const large = Math.max(...xs) - Math.min(...xs) > 0.01 && Math.max(...ys) - Math.min(...ys) > 0.01;
    if (large) state.shapes = [...state.shapes, state.now];
    state.now = null;
    send();
  };
}
