/* Buttons with data-act in what the server draws (cards.py), and lines of the queue that are dragged. */
(() => {
  'use strict';
  const STILL = 8;              // pixels: a press that moved less is a press

  /* What a button stands for; with faces around it, those that are not ticked. */
  const told = (button) => {
    const faces = button.closest('.dq-faces');
    const boxes = faces ? [...faces.querySelectorAll('[data-face]:not(:checked)')] : [];
    return {...button.dataset, refused: boxes.map((box) => box.dataset.face).join(',')};
  };

  // Lists change while a finger is down: what counts is the button that it came down on, also when
  // that stands for another job by then, stands elsewhere, or is gone, and hears no click.
  window.danqingActions = (element, ask) => {
    let pressed = null;
    element.addEventListener('pointerdown', (event) => {
      const button = event.target.closest('[data-act]');
      const at = [event.clientX, event.clientY];
      pressed = button && !button.disabled ? {button, at, data: told(button)} : null;
    });
    document.addEventListener('pointerup', (event) => {
      if (!pressed || pressed.button.contains(event.target)) return; // a click follows
      const {at: [x, y], data} = pressed;
      pressed = null;
      if (Math.hypot(event.clientX - x, event.clientY - y) < STILL) ask(data);
    });
    element.addEventListener('click', (event) => {
      const button = event.target.closest('[data-act]');
      if (!button || !element.contains(button)) return;
      const isByPointer = event.detail && pressed && pressed.button === button;
      ask(isByPointer ? pressed.data : told(button));
    });
  };

  // Waiting jobs are dragged in front of others, or below all.
  window.danqingDragged = (element, ask) => {
    let dragged = null;
    const lineOf = (event) => event.target.closest && event.target.closest('.dq-job[draggable]');
    const unmark = () => element.querySelectorAll('.dq-dropmark')
      .forEach((one) => one.classList.remove('dq-dropmark'));
    element.addEventListener('dragstart', (event) => {
      const line = lineOf(event);
      dragged = line ? line.dataset.job : null;
      if (line) event.dataTransfer.setData('text/plain', line.dataset.job);
    });
    element.addEventListener('dragover', (event) => {
      if (!dragged) return;
      event.preventDefault();
      unmark();
      const line = lineOf(event);
      if (line && line.dataset.job !== dragged) line.classList.add('dq-dropmark');
    });
    element.addEventListener('dragend', () => { dragged = null; unmark(); });
    element.addEventListener('drop', (event) => {
      if (!dragged) return;
      event.preventDefault();
      const line = lineOf(event);
      if (!line || line.dataset.job !== dragged) {
        ask({act: 'drop', job: dragged, before: line ? line.dataset.job : ''});
      }
      dragged = null;
      unmark();
    });
  };
})();
