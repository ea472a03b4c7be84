const video = document.querySelector('video'), svg = document.querySelector('.chart svg'),
  head = svg.querySelector('.head'), begin = +svg.dataset.begin, end = +svg.dataset.end,
  left = +svg.dataset.left, right = +svg.dataset.right;
function move() {
  const fraction = Math.min(1, Math.max(0, video.currentTime / (end - begin)));
  const x = left + fraction * (right - left);
  head.setAttribute('x1', x); head.setAttribute('x2', x);
  if (!video.paused) requestAnimationFrame(move);
}
for (const event of ['play', 'seeked', 'timeupdate', 'loadeddata'])
  video.addEventListener(event, move);
svg.addEventListener('click', event => {
  const box = svg.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
  video.currentTime = Math.max(0, (x - left) / (right - left) * (end - begin));
});
