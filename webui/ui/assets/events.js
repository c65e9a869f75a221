/* The list of the page's events stays a plain list (first_script.py).

   Gradio's page makes all lists of its settings reactive, this one too, which never changes, and looks
   through it for each of its parts: 250 events, 700 parts, several times while a page opens, each look
   many times as dear as one into a plain list. Svelte leaves alone what is of a class of its own. */
(() => {
  'use strict';
  class Events extends Array {}
  let settings;
  Object.defineProperty(window, 'gradio_config', {
    configurable: true,
    get: () => settings,
    set: (given) => {
      const events = given && given.dependencies;
      if (Array.isArray(events)) Object.setPrototypeOf(events, Events.prototype);
      settings = given;
    },
  });
})();
