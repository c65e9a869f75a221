/* A first look around, offered where nothing was painted yet; taken or refused, never offered again. */
(() => {
  'use strict';
  const {say, make} = window.danqingTexts;
  const SEEN = 'danqing-tour';
  const STEPS = [
    ['prompt', '#dq-prompt'], ['generate', '#dq-generate'], ['stage', '#dq-stage'],
    ['tabs', '#dq-tabs > .tab-wrapper'],
  ];
  const PROMPTS = 3;
  const OPENING_MS = 60;
  let at = -1;
  let card = null;
  let ideas = [];

  const showOffer = () => document.body.classList.toggle('dq-toured', localStorage.getItem(SEEN) !== null);
  const end = () => {
    for (const marked of document.querySelectorAll('.dq-tour-here')) marked.classList.remove('dq-tour-here');
    if (card) card.remove();
    const isSeen = card !== null;
    card = null;
    at = -1;
    localStorage.setItem(SEEN, 'seen');
    showOffer();
    const open = document.querySelector('#dq-tabs [role=tab][aria-selected=true]');
    if (isSeen && open) open.focus({preventScroll: true}); // the button that began it is gone
  };
  const button = (text, doing, className = 'dq-btn') => {
    const made = make('button', className, {type: 'button'}, text);
    made.addEventListener('click', doing);
    return made;
  };
  const use = (idea) => {
    const box = document.querySelector('#dq-prompt textarea');
    box.value = idea;
    box.dispatchEvent(new Event('input', {bubbles: true}));
    step(1);
  };
  /* The card lies below what it speaks of, or above where there is no room. */
  const place = () => {
    const target = card && document.querySelector('.dq-tour-here');
    if (!target) return;
    const box = target.getBoundingClientRect();
    const below = box.bottom + 10;
    const isBelow = below + card.offsetHeight < window.innerHeight;
    const top = isBelow ? below : Math.max(10, box.top - card.offsetHeight - 10);
    const left = Math.min(Math.max(10, box.left), window.innerWidth - card.offsetWidth - 10);
    card.style.top = `${top}px`;
    card.style.left = `${Math.max(10, left)}px`;
  };
  const step = (by) => {
    for (const marked of document.querySelectorAll('.dq-tour-here')) marked.classList.remove('dq-tour-here');
    at += by;
    if (at >= STEPS.length) { end(); return; }
    const [name, selector] = STEPS[at];
    const target = document.querySelector(selector);
    if (!target) { step(1); return; }
    if (!card) {
      card = make('div', 'dq-tour', {role: 'dialog', 'aria-label': say('tour_title'), tabindex: '-1'});
      document.body.append(card);
    }
    const row = make('div', 'dq-tour-row');
    row.append(make('span', 'dq-soft', {}, `${at + 1} / ${STEPS.length}`), button(say('tour_end'), end));
    row.append(button(say(at + 1 < STEPS.length ? 'tour_next' : 'tour_done'), () => step(1), 'dq-btn dq-tour-next'));
    const chips = make('div', 'dq-chips');
    if (name === 'prompt') for (const idea of ideas) chips.append(button(idea, () => use(idea), 'dq-btn dq-chip'));
    card.replaceChildren(make('p', '', {}, say(`tour_${name}`)), chips, row);
    target.classList.add('dq-tour-here');
    target.scrollIntoView({block: 'center'});
    place();
    card.focus({preventScroll: true});
  };

  window.addEventListener('scroll', place, {passive: true, capture: true});
  window.addEventListener('resize', place);
  document.addEventListener('click', (event) => {
    const pressed = event.target.closest && event.target.closest('[data-tour]');
    if (!pressed) return;
    if (pressed.dataset.tour === 'never') { end(); return; }
    ideas = [...document.querySelectorAll('#dq-stage [data-act=example]')].slice(0, PROMPTS).map((chip) => chip.dataset.prompt);
    at = -1;
    const first = document.querySelector('#dq-tabs [data-tab-id="txt2img"]');
    if (first) first.click();
    setTimeout(() => step(1), OPENING_MS);
  });
  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || !card) return;
    event.stopImmediatePropagation();
    end();
  }, true);
  if (document.body) showOffer(); else document.addEventListener('DOMContentLoaded', showOffer);
})();
