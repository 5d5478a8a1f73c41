
"use strict";
(function () {
  var slider = document.getElementById("task");
  if (slider) {
    var said = document.querySelector(".control output");
    var button = document.getElementById("play");
    var films = Array.prototype.map.call(document.querySelectorAll(".film"), function (film) {
      return { frames: film.querySelectorAll(".frames img"), at: film.querySelector(".at") };
    });
    var timer = 0;
    var show = function () {
      var task = Number(slider.value);
      said.textContent = task + " of " + slider.max;
      films.forEach(function (film) {
        var last = Math.min(task, film.frames.length);
        film.frames.forEach(function (frame, place) { frame.hidden = place !== last - 1; });
        film.at.textContent = "after task " + last + " of " + film.frames.length;
      });
    };
    var stop = function () {
      clearInterval(timer);
      timer = 0;
      button.textContent = "Play";
    };
    slider.addEventListener("input", function () { stop(); show(); });
    button.addEventListener("click", function () {
      if (timer) { stop(); return; }
      button.textContent = "Pause";
      timer = setInterval(function () {
        slider.value = slider.value === slider.max ? slider.min : Number(slider.value) + 1;
        show();
      }, 800);
    });
    show();
  }
  addEventListener("beforeprint", function () {
    document.querySelectorAll("details").forEach(function (each) { each.open = true; });
  });
})();
