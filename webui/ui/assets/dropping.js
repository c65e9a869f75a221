/* A recipe from anywhere: a picture or a text that is dropped or pasted fills the form. */
(() => {
  'use strict';
  const {say: text, announce} = window.danqingTexts;
  const byId = (id) => document.getElementById(id);
  const isShown = (element) => Boolean(element) && element.offsetParent !== null;

  const say = (message) => announce('dq-dropped', message);
  const sayForAMoment = (message) => { say(message); setTimeout(say, 8000, ''); };

  // Only a tab that paints takes a recipe; the others have uses of their own for a picture
  const prefix = () => ['dq-', 'dq-i2i-'].find((each) => isShown(byId(`${each}generate`)));

  const fill = (recipe) => {
    const area = document.querySelector(`#${prefix()}prompt textarea`);
    const button = byId(`${prefix()}paste`);
    area.value = recipe;
    area.dispatchEvent(new Event('input', {bubbles: true}));
    setTimeout(() => (button.tagName === 'BUTTON' ? button : button.querySelector('button')).click(), 60);
  };

  const read = async (body) => {
    say(text('recipe_reading'));
    try {
      const answer = await fetch('ui/recipe', {method: 'POST', body});
      if (!answer.ok) throw new Error((await answer.json()).detail || String(answer.status));
      const recipe = await answer.json();
      if (!recipe.text) { sayForAMoment(text('recipe_nothing')); return; }
      say('');
      if (!prefix()) return;
      fill(recipe.text);
      if (recipe.left_out.length) sayForAMoment(`${text('recipe_left_out')}: ${recipe.left_out.join('; ')}`);
    } catch (problem) {
      sayForAMoment(problem.message);
    }
  };

  const holdsFiles = (event) => event.dataTransfer && [...event.dataTransfer.types].includes('Files');
  // What a canvas or an upload box takes, it takes itself and says so with preventDefault
  document.addEventListener('dragover', (event) => {
    if (!event.defaultPrevented && holdsFiles(event) && prefix()) event.preventDefault();
  });
  document.addEventListener('drop', (event) => {
    if (event.defaultPrevented || !holdsFiles(event) || !prefix()) return;
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) read(file);
  });
  document.addEventListener('paste', (event) => {
    if (event.defaultPrevented || !prefix() || !event.clipboardData) return;
    if (event.target.matches && event.target.matches('input, textarea, [contenteditable]')) return;
    const [file] = event.clipboardData.files;
    const words = event.clipboardData.getData('text/plain');
    if (file || words.trim()) read(file || new Blob([words]));
  });
})();
