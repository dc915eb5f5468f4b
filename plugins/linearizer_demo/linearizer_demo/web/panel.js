// Films stop and go on; visitors who ask for less motion see the first frame until they press.
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-act=film]");
  if (!button) return;
  const image = button.parentElement.querySelector("img");
  const source = button.parentElement.querySelector("source");
  const moving = image.currentSrc === image.dataset.moving;
  if (source) source.srcset = moving ? image.dataset.still : image.dataset.moving;
  image.src = moving ? image.dataset.still : image.dataset.moving;
});
