/* What the buttons of failures and notes do in the page, and what is told while nobody looks: the
   title counts, and a notification comes when a job ends. */
(() => {
  'use strict';
  const {say, make} = window.danqingTexts;
  const NOTIFY = 'danqing-notify';
  const OPENING_MS = 600; // what the tab shows when it is opened has come by then, and replaces nothing
  const LOOK_MS = 100;
  const LOOKS = 60;
  const title = document.title || 'Danqing 丹青';
  const isShown = (element) => Boolean(element) && element.offsetParent !== null;

  /* Tabs that have no room lie in a menu, where only their names tell which they are. */
  const openTab = (id) => {
    const inMenu = [...document.querySelectorAll('#dq-tabs .overflow-dropdown button')].find((tab) => tab.textContent.trim() === say(`tab_${id}`));
    const tab = document.querySelector(`#dq-tabs [data-tab-id="${id}"]`) || inMenu;
    if (tab) tab.click();
  };
  /* A tab's fields are there a while after it was opened. */
  const lookFor = (wanted, looks = LOOKS) => {
    if (!wanted || !looks) return;
    const search = document.querySelector('#dq-get-search :is(input, textarea)');
    if (!isShown(search)) { setTimeout(lookFor, LOOK_MS, wanted, looks - 1); return; }
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
    const stage = [...document.querySelectorAll('.dq-stagebox')].find(isShown);
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
    if (go) { openTab(go.dataset.go); setTimeout(lookFor, OPENING_MS, go.dataset.find); }
    const away = at('[data-take-out]');
    if (away) takeOut(away.dataset.takeOut);
    if (at('[data-notify]')) changeWanted();
  });
  const watch = () => {
    look();
    const changes = {childList: true, subtree: true, attributes: true, attributeFilter: ['aria-valuenow', 'data-state']};
    new MutationObserver(look).observe(document.body, changes);
  };
  if (document.body) watch(); else document.addEventListener('DOMContentLoaded', watch);

  const facts = () => ({type: 'button', 'data-notify': '', 'aria-pressed': String(isWanted()), title: say('notify_switch')});
  window.danqingBell = () => make('button', 'dq-btn dq-bell', facts(), say('notify_short'));
})();
