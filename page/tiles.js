export default function ({ data, parentElement, setTriggerValue }) {
  const element = (kind, className, text) => {
    const made = document.createElement(kind);
    made.className = className;
    made.textContent = text ?? "";
    return made;
  };
  let grid = parentElement.querySelector(".tiles");
  if (!grid) parentElement.append((grid = element("div", "tiles")));
  grid.replaceChildren(...data.map((tile) => {
    const cell = element("div", tile.dim ? "tile dim" : "tile");
    const open = element("button", "open");
    const picture = document.createElement("img");
    picture.src = tile.picture;
    picture.alt = "";
    open.title = tile.name;
    open.setAttribute("aria-label", [tile.name, tile.mark, tile.note].join(" "));
    open.append(picture);
    if (tile.mark) open.append(element("span", `mark ${tile.tone}`, tile.mark));
    const click = () => setTriggerValue("clicked", tile.id);
    cell.append(open, element("div", "name", tile.name), element("div", "note", tile.note));
    if (tile.action) {
      const act = element("button", "act", tile.action);
      act.onclick = click;
      cell.append(act);
      open.disabled = true;
    } else {
      open.onclick = click;
    }
    return cell;
  }));
}
