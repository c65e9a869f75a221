/* The clock of waiting ticks twice a second (first_script.py).

   What Gradio shows while something is waited for reckons the seconds with every frame; the one of the
   page's own opening goes on so when it is long gone, and keeps a page that does nothing drawing sixty
   frames a second. It is known by its text; should that change, all is as Gradio has it. */
(() => {
  'use strict';
  const TICK = /^\(\) ?=> ?\{[\w$]+\([\w$]+, ?\(performance\.now\(\) ?- ?[\w$]+\([\w$]+\)\) ?\/ ?1e3\)/;
  const EVERY = 500;            // milliseconds
  const frame = window.requestAnimationFrame;
  window.requestAnimationFrame = (deed) => (TICK.test(deed)
    ? window.setTimeout(deed, EVERY) : frame.call(window, deed));
})();
