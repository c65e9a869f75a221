/* A recipe from anywhere: a picture or a text that is dropped or pasted fills the form. */
(() => {
  'use strict';
  const {say: text, announce} = window.danqingTexts;
  const byId = (id) => document.getElementById(id);
  const isShown = (element) => Boolean(element) && element.offsetParent !== null;

  const say = (message) => announce('dq-dropped', message);
  const sayForAMoment = (message) => { say(message); setTimeout(say, 8000, ''); };

  // A tab that paints takes a recipe where it stands; from any other one the first tab is opened
  const OPENS_WITHIN_MS = 20000;
  const prefix = () => ['dq-', 'dq-i2i-'].find((each) => isShown(byId(`${each}generate`)));
  const opened = async () => {
    if (prefix()) return;
    document.querySelector('#dq-tabs [role=tab]').click();
    const end = Date.now() + OPENS_WITHIN_MS;
    while (!prefix() && Date.now() < end) await new Promise(requestAnimationFrame);
  };

  const press = () => {
    const button = byId(`${prefix()}paste`);
    (button.tagName === 'BUTTON' ? button : button.querySelector('button')).click();
  };
  const fill = async (recipe) => {
    for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
    await opened();
    const area = document.querySelector(`#${prefix()}prompt textarea`);
    area.value = recipe;
    area.dispatchEvent(new Event('input', {bubbles: true}));
    setTimeout(press, 60);
  };

  const read = async (body) => {
    say(text('recipe_reading'));
    try {
      const answer = await fetch('ui/recipe', {method: 'POST', body});
      if (!answer.ok) throw new Error((await answer.json()).detail || String(answer.status));
      const recipe = await answer.json();
      if (!recipe.text) { sayForAMoment(text('recipe_nothing')); return; }
      say('');
      await fill(recipe.text);
      if (recipe.left_out.length) sayForAMoment(`${text('recipe_left_out')}: ${recipe.left_out.join('; ')}`);
    } catch (problem) {
      sayForAMoment(problem.message);
    }
  };

  // What a canvas or an upload box takes, it takes itself and says so with preventDefault
  const isOurs = (event) => !event.defaultPrevented && event.dataTransfer && [...event.dataTransfer.types].includes('Files')
    && !(event.target.matches && event.target.matches('input[type=file]'));
  document.addEventListener('dragover', (event) => { if (isOurs(event)) event.preventDefault(); });
  document.addEventListener('drop', (event) => {
    if (!isOurs(event)) return;
    event.preventDefault(); // the browser would leave the page to show the file
    const [file] = event.dataTransfer.files;
    if (file) read(file);
  });

  // A whole recipe in an empty prompt box is no prompt: the box hands it on at once
  const IS_RECIPE = /(^|\n)Steps: \d+, .*\b(Sampler|Seed|Size): /;
  const isPromptBox = (element) => ['dq-', 'dq-i2i-'].some((each) => byId(`${each}prompt`)?.contains(element));
  document.addEventListener('paste', (event) => {
    if (event.defaultPrevented || !event.clipboardData) return;
    const [file] = event.clipboardData.files;
    const words = event.clipboardData.getData('text/plain');
    const box = event.target.matches && event.target.matches('input, textarea, [contenteditable]') ? event.target : null;
    if (box && words) {
      const isWhole = isPromptBox(box) && IS_RECIPE.test(words) && box.selectionStart === 0 && box.selectionEnd === box.value.length;
      if (isWhole) setTimeout(press, 60);
      return;
    }
    if (file || words.trim()) read(file || new Blob([words]));
  });
})();
