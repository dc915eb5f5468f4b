// Examples to choose from, and an upload. The value is {example: NUMBER}, or the uploaded file.
const root = element.querySelector(".lz-pick");
const row = root.querySelector(".lz-thumbs");
const file = root.querySelector("input[type=file]");
const drop = root.querySelector(".lz-upload");
const told = root.querySelector(".lz-told");
let own = null;

function chosen() {
  const value = props.value || {};
  return value.path ? "own" : String(value.example ?? "");
}

function tile(key, label, style) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "lz-thumb" + (props.crisp ? " lz-crisp" : "");
  button.dataset.key = key;
  button.setAttribute("role", "radio");
  button.setAttribute("aria-label", label);
  Object.assign(button.style, style);
  return button;
}

function draw() {
  row.replaceChildren();
  row.setAttribute("aria-label", props.label || "");
  if (own) row.append(tile("own", "Your picture", { backgroundImage: `url("${own}")`, backgroundSize: "cover", backgroundPosition: "center" }));
  const count = props.count || 0;
  for (let number = 0; number < count; number++) {
    row.append(
      tile(String(number), `Example ${number + 1} of ${count}`, {
        backgroundImage: `url("${props.sheet}")`,
        backgroundSize: `${count * 100}% 100%`,
        backgroundPosition: `${count > 1 ? (number / (count - 1)) * 100 : 0}% 0`,
      })
    );
  }
  row.hidden = !row.children.length;
  mark();
}

function mark() {
  const key = chosen();
  const tiles = [...row.children];
  const current = tiles.find((each) => each.dataset.key === key);
  for (const each of tiles) {
    each.setAttribute("aria-checked", String(each === current));
    each.tabIndex = each === (current || tiles[0]) ? 0 : -1;
  }
}

let kept = null;
function choose(key) {
  props.value = key === "own" ? kept : { example: Number(key) };
  told.textContent = "";
  mark();
  trigger("input");
}

row.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button) choose(button.dataset.key);
});
row.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const tiles = [...row.children];
  const next = tiles[(tiles.indexOf(document.activeElement) + step + tiles.length) % tiles.length];
  next.focus();
  choose(next.dataset.key);
});

async function take(given) {
  if (!given) return;
  if (given.size === 0) return say("This file is empty: it has 0 bytes. Choose another one.");
  if (given.size > props.largest) return say(`This file has ${Math.round(given.size / 2 ** 20)} MB, expected at most ${Math.round(props.largest / 2 ** 20)}. Scale the picture down first.`);
  say("Uploading ...");
  try {
    const { path } = await upload(given);
    kept = { path: path, orig_name: given.name, meta: { _type: "gradio.FileData" } };
  } catch (error) {
    return say("The upload did not work. Try again, or choose another file.");
  }
  if (own) URL.revokeObjectURL(own);
  own = URL.createObjectURL(given);
  say(`Your picture: ${given.name}`);
  props.value = kept;
  draw();
  trigger("input");
}

function say(text) {
  told.textContent = text;
}

file.addEventListener("change", () => {
  take(file.files[0]);
  file.value = "";
});
for (const name of ["dragenter", "dragover"])
  drop.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("lz-over");
  });
for (const name of ["dragleave", "drop"]) drop.addEventListener(name, () => drop.classList.remove("lz-over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  take(event.dataTransfer.files[0]);
});
watch(["value", "sheet", "count", "label"], draw);
draw();
