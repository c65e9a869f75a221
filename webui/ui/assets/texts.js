/* The page's language, its texts and what they are put into, for all other scripts.

   A language that a person chose is kept in a cookie, so that the server says what it says in the
   same language (texts.py language_of). */
(() => {
  'use strict';
  const facts = window.danqingFacts;
  const YEAR_SECONDS = 31536000;
  const isChinese = (navigator.language || '').toLowerCase().startsWith('zh');
  document.documentElement.lang = isChinese ? 'zh-CN' : 'en';

  /* A person's own choice holds from the next time the page is opened (first.js). */
  const choose = (language) => {
    const path = new URL('.', window.location.href).pathname;
    document.cookie = `danqing-language=${language}; path=${path}; max-age=${YEAR_SECONDS}; SameSite=Strict`;
  };

  /* One text of the page, its {names} filled in. */
  const say = (key, values = {}) =>
    facts.texts[key][isChinese ? 1 : 0].replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);

  /* What a value of a menu is called; itself where it has no name (value_texts.py). */
  const nameOf = (value) => (facts.texts[`value_${value}`] ? say(`value_${value}`) : value);

  /* One line above the page, by its element's id; no message takes it away. */
  const announce = (id, message) => {
    let line = document.getElementById(id);
    if (!message) { if (line) line.remove(); return; }
    if (!line) {
      line = document.createElement('div');
      line.id = id;
      line.setAttribute('role', 'status');
      document.body.append(line);
    }
    line.textContent = message;
  };

  /* An element that a script draws. */
  const make = (tag, className = '', attributes = {}, text = '') => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text) made.textContent = text;
    return made;
  };

  window.danqingTexts = {isChinese, say, nameOf, choose, announce, make};
})();
