/* One card of a model, and the small parts that its details share with it.
   Everything a file says is foreign: it is shown as text, never as HTML. */
(() => {
  'use strict';
  const {say} = window.danqingTexts;
  const make = (tag, className = '', text = '') => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text) made.textContent = text;
    return made;
  };
  const button = (className, key, sign) => {
    const made = make('button', className, sign === undefined ? say(key) : sign);
    made.type = 'button';
    if (sign !== undefined) { made.title = say(key); made.setAttribute('aria-label', say(key)); }
    return made;
  };
  const ask = async (address, options = {}) => {
    const answer = await fetch(address, {cache: 'no-store', ...options}).catch(() => null);
    const told = answer ? await answer.json().catch(() => ({})) : {};
    if (!answer || !answer.ok) throw new Error(typeof told.detail === 'string' ? told.detail : say('net_failed'));
    return told;
  };

  const placeholder = (card) => {
    const made = make('div', 'dq-net-blank');
    let hue = 0;
    for (const letter of card.name) hue = (hue * 31 + letter.codePointAt(0)) % 360;
    made.style.setProperty('--dq-hue', hue);
    made.append(make('span', '', (card.name.match(/[\p{L}\p{N}]/gu) || []).slice(0, 2).join('')));
    return made;
  };
  const pictureOf = (card) => {
    if (!card.thumb) return placeholder(card);
    const image = make('img');
    image.src = card.thumb;
    image.alt = '';
    image.decoding = 'async';
    image.addEventListener('error', () => image.replaceWith(placeholder(card)), {once: true});
    return image;
  };
  const reason = (card) => {
    if (card.problem) return card.problem;
    if (card.fits) return '';
    return say(card.chosen_is ? 'net_other_family' : 'net_other_family_plain', card);
  };
  const badgeOf = (card) => [card.badge, card.is_basic && say('net_basic')].filter(Boolean).join(' · ');

  const drawCard = (card) => {
    const why = reason(card);
    const made = make('div', 'dq-net-card');
    made.setAttribute('role', 'listitem');
    made.classList.toggle('dq-net-dim', Boolean(why));
    const press = make('button', 'dq-net-press');
    press.type = 'button';
    press.title = [card.file, card.title, card.trigger || card.words.join(', '), card.note, why].filter(Boolean).join('\n').slice(0, 600);
    press.setAttribute('aria-label', [card.name, badgeOf(card), why].filter(Boolean).join(', '));
    const name = make('div', 'dq-net-name');
    name.append(make('b', '', card.name));
    const line = why || card.note || card.trigger || card.words.join(', ');
    if (line) name.append(make('small', '', line.slice(0, 160)));
    made.append(pictureOf(card), press, name);
    if (badgeOf(card)) made.append(make('span', 'dq-net-badge', badgeOf(card)));
    const more = button('dq-net-more', 'net_details', 'i');
    more.setAttribute('aria-label', `${say('net_details')}: ${card.name}`);
    made.append(more);
    return made;
  };

  Object.assign(window.danqingCards, {say, make, button, ask, pictureOf, reason, badgeOf, drawCard});
})();
