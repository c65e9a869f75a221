/* Few fields: one prompt, four pictures, speeds, styles. The same form: a class on the body hides
   the rest (help.css), so what stands in it stays. Remembered by this browser. */
(() => {
  'use strict';
  const {say, make} = window.danqingTexts;
  const KEPT = 'danqing-simple';
  const STYLES = {
    photo: 'photograph', ink: 'chinese ink painting', watercolour: 'watercolor painting',
    oil: 'oil painting', anime: 'anime style', pixel: 'pixel art',
  };
  const isSimple = () => localStorage.getItem(KEPT) === 'on';
  const prompt = () => document.querySelector('#dq-prompt textarea');

  /* One style at a time: its words stand at the end of the prompt, where they can be seen. All else
     that is written there stays as it is. */
  const styleIn = (words) => new RegExp(`(^|[,，])[^\\S\n]*${words}[^\\S\n]*(?=[,，\n]|$)`, 'g');
  const hasStyle = (words) => Boolean(prompt()) && styleIn(words).test(prompt().value);
  const toggle = (words) => {
    const wasThere = hasStyle(words);
    let text = prompt().value;
    for (const one of Object.values(STYLES)) text = text.replace(styleIn(one), '');
    text = text.replace(/^[\s,，]+|[\s,，]+$/g, '');
    if (!wasThere) text = text ? `${text}, ${words}` : words;
    prompt().value = text;
    prompt().dispatchEvent(new Event('input', {bubbles: true}));
  };
  const tiles = () => {
    const row = make('div', 'dq-tiles', {role: 'group', 'aria-label': say('simple_styles')});
    for (const [name, words] of Object.entries(STYLES)) {
      const tile = make('button', `dq-btn dq-tile dq-tile-${name}`, {type: 'button', 'data-style-words': words}, say(`simple_${name}`));
      tile.addEventListener('click', () => { toggle(words); show(); });
      row.append(tile);
    }
    return row;
  };

  const show = () => {
    document.body.classList.toggle('dq-simple', isSimple());
    for (const button of document.querySelectorAll('[data-simple]')) {
      button.setAttribute('aria-pressed', String(isSimple()));
      const text = say(isSimple() ? 'simple_off' : 'simple_on');
      if (button.textContent !== text) button.textContent = text;
    }
    const kit = document.getElementById('dq-kit');
    if (isSimple() && kit && !document.querySelector('.dq-tiles')) kit.append(tiles());
    for (const tile of document.querySelectorAll('[data-style-words]')) {
      tile.setAttribute('aria-pressed', String(hasStyle(tile.dataset.styleWords)));
    }
  };
  const choose = () => {
    localStorage.setItem(KEPT, isSimple() ? 'off' : 'on');
    const four = document.querySelector('#dq-four input');
    if (four && isSimple() && !four.checked) four.click();
    show();
  };

  document.addEventListener('click', (event) => {
    if (event.target.closest && event.target.closest('[data-simple]')) choose();
  });
  document.addEventListener('input', (event) => { if (event.target === prompt()) show(); });
  setInterval(show, 1000); // Gradio draws its parts late and again
})();
