// A line that follows the sound, a click that goes to a place, and one player at a time. The page
// loses nothing else without it.
const players = [...document.querySelectorAll("audio")];
for (const player of players) {
  const picture = player.closest("figure").querySelector(".picture");
  const line = picture.querySelector("u");
  const draw = () => {
    line.style.left = 100 * player.currentTime / player.duration + "%";
    line.style.visibility = player.currentTime > 0 ? "visible" : "hidden";
    if (!player.paused) requestAnimationFrame(draw);
  };
  player.addEventListener("play", () => {
    for (const other of players) if (other !== player) other.pause();
    draw();
  });
  player.addEventListener("timeupdate", draw);
  picture.addEventListener("click", (event) => {
    const box = picture.getBoundingClientRect();
    player.currentTime = player.duration * (event.clientX - box.left) / box.width;
    player.play();
  });
}
