// A pad to draw on, with a pointer or with keys. The value is a PNG file as a data URL; "" while nothing is drawn.
const root = element.querySelector(".lz-pad");
const canvas = root.querySelector("canvas");
const pen = canvas.getContext("2d", { willReadFrequently: false });
const strokes = [];
let current = null;

function paint() {
  pen.fillStyle = "#000";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.strokeStyle = pen.fillStyle = "#fff";
  pen.lineWidth = canvas.width / 13;
  pen.lineCap = pen.lineJoin = "round";
  for (const stroke of strokes) {
    pen.beginPath();
    pen.moveTo(...stroke[0]);
    for (const point of stroke) pen.lineTo(...point);
    pen.stroke();
  }
  root.classList.toggle("lz-empty", strokes.length === 0);
}

function publish() {
  props.value = strokes.length ? canvas.toDataURL("image/png") : "";
  trigger("input");
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [((event.clientX - box.left) / box.width) * canvas.width, ((event.clientY - box.top) / box.height) * canvas.height];
}

canvas.addEventListener("pointerdown", (event) => {
  if (event.button !== 0 || current) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  current = [place(event)];
  strokes.push(current);
  paint();
});
canvas.addEventListener("pointermove", (event) => {
  if (!current) return;
  const moves = event.getCoalescedEvents ? event.getCoalescedEvents() : [event];
  for (const move of moves.length ? moves : [event]) current.push(place(move));
  paint();
});
function lift() {
  if (!current) return;
  current = null;
  publish();
}
canvas.addEventListener("pointerup", lift);
canvas.addEventListener("pointercancel", lift);

// With keys: arrows move a mark, space sets the pen down there, and lifts it again.
const mark = root.querySelector(".lz-mark");
const at = [canvas.width / 2, canvas.height / 2];
const STEP = 10;
let line = null;

function show() {
  mark.style.left = `${(100 * at[0]) / canvas.width}%`;
  mark.style.top = `${(100 * at[1]) / canvas.height}%`;
  mark.classList.toggle("lz-down", line !== null);
}
function liftLine() {
  if (!line) return;
  line = null;
  show();
  publish();
}
canvas.addEventListener("keydown", (event) => {
  const move = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
  if (!move && event.key !== " ") return;
  event.preventDefault();
  if (event.key === " ") {
    if (event.repeat) return;
    if (line) return liftLine();
    line = [[...at]];
    strokes.push(line);
  } else {
    for (const axis of [0, 1]) at[axis] = Math.min(Math.max(at[axis] + move[axis], 0), canvas.width);
    if (line) line.push([...at]);
  }
  show();
  paint();
});
canvas.addEventListener("blur", liftLine);
canvas.addEventListener("pointerdown", liftLine, { capture: true });
show();

root.querySelector("[data-act=undo]").addEventListener("click", () => {
  strokes.pop();
  paint();
  publish();
});
root.querySelector("[data-act=clear]").addEventListener("click", () => {
  strokes.length = 0;
  paint();
  publish();
});
watch("value", () => {
  if (!props.value && strokes.length) {
    strokes.length = 0;
    paint();
  }
});
paint();
