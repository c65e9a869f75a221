/* What the buttons of failures and notes do in the page, and what is told while nobody looks: the
   title counts, and a notification comes when a job ends. */
(() => {
  'use strict';
  const {say, make} = window.danqingTexts;
  const NOTIFY = 'danqing-notify';
  const LOOKS_EVERY_MS = 1000;
  const title = document.title || 'Danqing 丹青';
  const isShown = (element) => Boolean(element) && element.offsetParent !== null;

  /* Tabs that have no room lie in a menu, which is drawn when it is opened. */
  const openTab = (id, then) => {
    const find = () => [...document.querySelectorAll(`#dq-tabs [data-tab-id="${id}"]`)].find((tab) => isShown(tab) && !tab.closest('.visually-hidden'));
    const press = () => { const tab = find(); if (tab) { tab.click(); if (then) setTimeout(then, 600); } };
    if (find()) { press(); return; }
    const menu = document.querySelector('#dq-tabs .overflow-menu > button');
    if (menu) { menu.click(); setTimeout(press, 60); }
  };
  const lookFor = (wanted) => {
    const search = document.querySelector('#dq-get-search :is(input, textarea)');
    if (!search || !wanted) return;
    search.value = wanted;
    search.dispatchEvent(new Event('input', {bubbles: true}));
    search.focus();
  };
  const takeOut = (name) => {
    const prompt = [...document.querySelectorAll('#dq-prompt, #dq-i2i-prompt')].find(isShown);
    if (prompt) window.danqingCards.remove(prompt.id.slice(0, -'prompt'.length), {kind: 'lora', tags: [name]});
  };

  const isWanted = () => localStorage.getItem(NOTIFY) === 'on' && 'Notification' in window && Notification.permission === 'granted';
  const showWanted = () => {
    for (const bell of document.querySelectorAll('[data-notify]')) bell.setAttribute('aria-pressed', String(isWanted()));
  };
  const changeWanted = async () => {
    const isAsked = !isWanted();
    if (isAsked && 'Notification' in window) await Notification.requestPermission();
    localStorage.setItem(NOTIFY, isAsked ? 'on' : 'off');
    showWanted();
    if (isAsked && !isWanted()) window.danqingTexts.announce('dq-dropped', say('notify_refused'));
    if (isAsked && !isWanted()) setTimeout(() => window.danqingTexts.announce('dq-dropped', ''), 5000);
  };

  let busy = '';
  const look = () => {
    showWanted();
    const stage = [...document.querySelectorAll('.dq-stagebox')].find((one) => isShown(one) || document.hidden);
    const bar = stage && stage.querySelector('.dq-progress');
    const percent = bar ? `${bar.getAttribute('aria-valuenow')} % · ` : '';
    if (document.title !== percent + title) document.title = percent + title;
    const state = stage ? stage.dataset.state : '';
    if (busy && stage && stage.dataset.job === busy && (state === 'done' || state === 'failed') && !bar) {
      if (document.hidden && isWanted()) tell(state);
      busy = '';
    } else if (state === 'running' || state === 'queued' || bar) {
      busy = stage.dataset.job;
    }
  };
  const tell = (state) => {
    const note = new Notification(title, {body: say(`notify_${state}`), tag: 'danqing'});
    note.onclick = () => { window.focus(); note.close(); };
  };

  document.addEventListener('click', (event) => {
    const at = (selector) => event.target.closest && event.target.closest(selector);
    const go = at('[data-go]');
    if (go) openTab(go.dataset.go, () => lookFor(go.dataset.find));
    const away = at('[data-take-out]');
    if (away) takeOut(away.dataset.takeOut);
    if (at('[data-notify]')) changeWanted();
  });
  setInterval(look, LOOKS_EVERY_MS);

  const facts = () => ({type: 'button', 'data-notify': '', 'aria-pressed': String(isWanted()), title: say('notify_switch')});
  window.danqingBell = () => make('button', 'dq-btn dq-bell', facts(), say('notify_short'));
})();
