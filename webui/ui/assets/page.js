/* What the browser does by itself: keys, the draft's timer, the connection, the large view. */
(() => {
  'use strict';
  const facts = window.danqingFacts;
  const {isChinese, say: text, choose, announce} = window.danqingTexts;
  const byId = (id) => document.getElementById(id);

  // The painting tabs have the same parts, each under its own ids (tab_ids.py)
  const PREFIXES = ['dq-', 'dq-i2i-', 'dq-rst-'];
  const isShown = (element) => Boolean(element) && element.offsetParent !== null;
  const shownPrefix = () => PREFIXES.find((prefix) => isShown(byId(`${prefix}generate`)));
  const shownStage = () => byId(`${shownPrefix() || 'dq-'}stage`);
  const press = (id) => {
    const found = byId(id);
    const button = found && (found.tagName === 'BUTTON' ? found : found.querySelector('button'));
    if (button && !button.disabled) button.click();
    return Boolean(button);
  };

  // Colours: the system's, unless the server was told otherwise. Gradio reads this parameter.
  if (facts.theme) {
    const address = new URL(window.location.href);
    if (address.searchParams.get('__theme') !== facts.theme) {
      address.searchParams.set('__theme', facts.theme);
      window.history.replaceState(null, '', address);
    }
  }

  // A page that opens takes no click and no key until it shows what stood in it: an earlier one
  // would be overwritten. page.py calls danqingOpened; a server that does not answer holds nobody.
  const MAY_OPEN_MS = 30000;
  const isOpening = () => Boolean(document.querySelector('gradio-app[inert]'));
  const open = () => { for (const app of document.querySelectorAll('gradio-app')) app.inert = false; };
  window.danqingOpened = () => requestAnimationFrame(() => requestAnimationFrame(open));

  // Keys, as A1111 has them
  document.addEventListener('keydown', (event) => {
    if (event.isComposing || !event.isTrusted || isOpening()) return;
    const onTab = shownPrefix();
    if (event.key === 'Escape') {
      if (closeLarge()) return;
      const isListOpen = document.activeElement && document.activeElement.matches('input[aria-expanded=true]');
      if (onTab && !isListOpen) press(`${onTab}interrupt`);
    } else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && onTab) {
      event.preventDefault();
      event.stopPropagation();
      // The box under the cursor hands its text over before the button is pressed.
      if (document.activeElement) document.activeElement.dispatchEvent(new Event('input', {bubbles: true}));
      setTimeout(() => press(`${onTab}generate`), 30);
    } else if (event.key === 'Enter' && event.altKey && onTab) {
      event.preventDefault();
      press(`${onTab}skip`);
    } else if (STEPS[event.key] && inGallery(event.target)) {
      const by = STEPS[event.key];
      const isAcrossRows = Math.abs(by) > 1;
      if (isAcrossRows && !galleryOf(event.target)?.closest('.dq-four')) return;
      event.preventDefault();
      step(by);
    }
  }, true);

  // A list that opened when the Tab key reached it closes when the Tab key leaves it
  document.addEventListener('focusout', (event) => {
    const field = event.target;
    if (!field.matches || !field.matches('input[aria-controls]')) return;
    setTimeout(() => {
      if (document.activeElement === field || field.getAttribute('aria-expanded') !== 'true') return;
      field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Escape', bubbles: true}));
    }, 0);
  }, true);

  // Left and right go to the next picture, up and down to the other row of four
  const STEPS = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -2, ArrowDown: 2};
  // A stage that was drawn anew takes the focus from the picture it was on: it goes back there
  let focusedPick = null;
  document.addEventListener('focusin', (event) => {
    const pick = event.target.closest && event.target.closest('[data-act=pick]');
    focusedPick = pick && pick.dataset.key;
  });
  // The picture the keys chose last: answers to keys before it draw others in between
  let chosenPick = null;
  const lostPick = () => (focusedPick && document.activeElement === document.body
    ? shownStage()?.querySelector(`[data-act=pick][data-key="${focusedPick}"]`) : null);
  const refocus = () => lostPick()?.focus();
  document.addEventListener('pointerdown', () => { focusedPick = chosenPick = null; }, true);
  // Where a key goes that came while the stage was being drawn anew
  const galleryOf = (target) => lostPick() ?? (target.closest ? target : null);
  const inGallery = (target) => {
    if (target.matches && target.matches('.dq-cut')) return false; // the cut moves by arrow keys
    return document.querySelector('.dq-large') || galleryOf(target)?.closest('#dq-stage, #dq-i2i-stage, #dq-rst-stage');
  };

  const step = (by) => {
    const picks = [...shownStage().querySelectorAll('[data-act=pick]')];
    const chosen = picks.findIndex((pick) => pick.dataset.key === chosenPick);
    const now = chosen >= 0 ? chosen : picks.findIndex((pick) => pick.getAttribute('aria-pressed') === 'true');
    const next = picks[Math.max(0, Math.min(picks.length - 1, now + by))];
    if (!next || next === picks[now]) return;
    next.click();
    chosenPick = next.dataset.key;
    // Marked at once, so that the next key goes on from here before the server has answered.
    for (const pick of picks) pick.setAttribute('aria-pressed', String(pick === next));
    for (const cell of document.querySelectorAll('.dq-cell')) cell.dataset.picked = String(cell.contains(next));
    const large = document.querySelector('.dq-large');
    if (!large) { next.focus(); return; }
    const cell = next.closest('.dq-cell');
    if (cell) { putLarge(large, cell.querySelector('.dq-frame')); return; }
    // Out of the strip: its small copy tells the address; the frame follows with the answer.
    const thumb = next.querySelector('img');
    const address = new URL(thumb.src);
    address.pathname = address.pathname.replace('/ui/thumb/', '/ui/picture/');
    const frame = document.createElement('span');
    frame.className = 'dq-frame';
    frame.style.setProperty('--dq-ratio', (thumb.naturalWidth || 1) / (thumb.naturalHeight || 1));
    const image = document.createElement('img');
    image.className = 'dq-after';
    image.src = address.href;
    image.alt = next.getAttribute('aria-label');
    frame.append(image);
    putLarge(large, frame);
  };

  // A picture that came to the stage while the large view is open: with its comparison, if it has one
  const followLarge = () => {
    const large = document.querySelector('.dq-large');
    const stage = large && shownStage();
    const image = large && large.querySelector('.dq-after');
    if (!image) return;
    const frames = [...stage.querySelectorAll('.dq-frame.dq-pair')];
    const same = frames.find((frame) => frame.querySelector('.dq-after').src === image.src);
    if (same && !large.querySelector('.dq-pair')) putLarge(large, same);
  };

  // The drafts: saved a moment after the last change of a field, whoever made it, a person or an
  // answer (draft.py calls danqingChanged), and when the page goes away
  const draftTimers = {};
  const keepDraft = (autosave) => {
    clearTimeout(draftTimers[autosave]);
    delete draftTimers[autosave];
    press(autosave);
  };
  const keepSoon = (autosave, wait) => {
    clearTimeout(draftTimers[autosave]);
    draftTimers[autosave] = setTimeout(keepDraft, wait, autosave);
  };
  // A job has ended: what the line below Generate says of waiting and of time is told anew
  const areBusy = {};
  const seeWhatEnded = () => {
    for (const prefix of PREFIXES) {
      const button = byId(`${prefix}interrupt`);
      const isBusy = Boolean(button) && !(button.disabled || button.querySelector('button[disabled]'));
      if (areBusy[prefix] && !isBusy && isShown(button) && !document.hidden) keepSoon(`${prefix}autosave`, 60);
      areBusy[prefix] = isBusy;
    }
  };
  window.danqingChanged = (autosave) => { if (!isOpening()) keepSoon(autosave, 600); };
  document.addEventListener('dq-keep', (event) => {
    keepSoon(`${event.detail && event.detail.closest('.dq-rst') ? 'dq-rst-' : 'dq-i2i-'}autosave`, 60);
  });

  // A drawing that is still on its way arrives before Generate is pressed
  let isPressedAgain = false;
  document.addEventListener('click', async (event) => {
    const button = event.target.closest && event.target.closest('#dq-i2i-generate, #dq-rst-generate');
    if (!button || isPressedAgain || !window.danqingCanvas.isUnsaved()) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    await window.danqingCanvas.flush();
    setTimeout(() => { isPressedAgain = true; button.click(); isPressedAgain = false; }, 60);
  }, true);
  let isWaking = false;
  const wake = () => {
    isWaking = true;
    for (const prefix of PREFIXES) press(`${prefix}wake`);
    isWaking = false;
  };
  const keepAll = async () => {
    Object.keys(draftTimers).forEach(keepDraft);
    if (!window.danqingCanvas.isUnsaved()) return;
    await window.danqingCanvas.flush();
    ['dq-i2i-autosave', 'dq-rst-autosave'].forEach(keepDraft);
  };
  document.addEventListener('visibilitychange', () => { if (document.hidden) keepAll(); else wake(); });

  // Two tabs of one browser: when one was told to look, since its jobs have changed, the other looks
  const others = 'BroadcastChannel' in window ? new BroadcastChannel('danqing') : null;
  if (others) {
    others.onmessage = wake;
    document.addEventListener('click', (event) => {
      if (!isWaking && event.target.closest && event.target.closest('[id^="dq-"][id$="wake"]')) others.postMessage('asked');
    });
  }

  // The connection: say when the program is gone, come back with it
  let [run, jobs] = [null, null];
  let isOffline = false;
  const banner = (message) => announce('dq-banner', message);
  const BOXES = PREFIXES.flatMap((prefix) => [`${prefix}prompt`, `${prefix}negative`]);
  /* All tabs are in one row out of sight, by which Gradio measures; those that have no room are in a
     menu, and the open one takes the place of another. */
  const TABS = '#dq-tabs > .tab-wrapper';
  const nameOf = (tab) => tab.textContent.trim();
  const tabNames = () => [...document.querySelectorAll(`${TABS} .visually-hidden button`)].map(nameOf);
  const openTab = () => document.querySelector(`${TABS} [role="tab"][aria-selected="true"]`);
  const unsaved = () => {
    const box = (id) => { const area = document.querySelector(`#${id} textarea`); return area ? area.value : ''; };
    sessionStorage.setItem('danqing-unsaved', JSON.stringify(BOXES.map((id) => [id, box(id)])));
    const open = openTab();
    sessionStorage.setItem('danqing-open', open ? tabNames().indexOf(nameOf(open)) : -1);
  };
  const setOffline = (state) => {
    isOffline = state;
    document.body.classList.toggle('dq-offline', state);
    banner(state ? text('offline') : '');
    if (state) unsaved();
  };
  /* The page is loaded anew, with what was typed, and with the tab open that is open now. */
  const comeBack = (reason) => {
    unsaved();
    banner(text(reason));
    window.location.reload();
  };
  window.danqingComeBack = comeBack;
  const ping = async () => {
    let wait = isOffline ? 1000 : 4000;
    try {
      const answer = await fetch('ui/ping', {cache: 'no-store'});
      if (!answer.ok) throw new Error(String(answer.status));
      const {run: now, page, jobs: mark} = await answer.json();
      const isOther = page !== (window.danqingPage || 0);
      if (isOther || (run !== null && now !== run)) {
        comeBack(isOther ? 'page_renewed' : 'restarted');
        return;
      }
      run = now;
      const isToLook = isOffline || (jobs !== null && jobs !== mark);
      jobs = mark;
      if (isOffline) setOffline(false);
      if (isToLook) wake(); // whatever was lost on the way, the stages show how the jobs stand
    } catch (problem) {
      setOffline(true);
      wait = 1000;
    }
    setTimeout(ping, document.hidden ? 10000 : wait);
  };

  // Another language: the page is opened anew, with all that stands in it
  const SAVING_MS = 400;
  const changeLanguage = async (language) => {
    choose(language);
    unsaved();
    await keepAll();
    setTimeout(() => window.location.reload(), SAVING_MS);
  };

  // Gradio sorts its tabs into a row and a menu late, and at first opens the first one
  const OPEN_TRIES = 100;
  const openAgain = (index, tries) => {
    const [name, now] = [tabNames()[index], openTab()];
    if (index < 0 || !tries || (name && now && nameOf(now) === name)) return;
    const inSight = document.querySelectorAll(`${TABS} [role="tab"], ${TABS} .overflow-dropdown button`);
    const open = [...inSight].find((tab) => nameOf(tab) === name);
    if (open) open.click();
    setTimeout(openAgain, 150, index, tries - 1);
  };

  // What was typed while the program was away is put back after the reload
  const putBack = () => {
    const kept = sessionStorage.getItem('danqing-unsaved');
    if (!kept) return;
    sessionStorage.removeItem('danqing-unsaved');
    openAgain(Number(sessionStorage.getItem('danqing-open')), OPEN_TRIES);
    for (const [id, value] of JSON.parse(kept)) {
      const area = document.querySelector(`#${id} textarea`);
      if (area && value && area.value !== value) {
        area.value = value;
        area.dispatchEvent(new Event('input', {bubbles: true}));
      }
    }
  };

  // The large view
  const closeLarge = () => {
    const open = document.querySelector('.dq-large');
    if (open) open.remove();
    return Boolean(open);
  };
  const putLarge = (large, frame) => {
    const copy = frame.cloneNode(true);
    for (const image of copy.querySelectorAll('img')) image.loading = 'eager';
    const shown = large.querySelector('.dq-frame');
    if (shown) shown.replaceWith(copy); else large.prepend(copy);
  };
  const openLarge = (frame) => {
    closeLarge();
    const large = document.createElement('div');
    large.className = 'dq-large';
    large.setAttribute('role', 'dialog');
    large.setAttribute('aria-modal', 'true');
    large.setAttribute('aria-label', text('enlarge'));
    large.tabIndex = -1;
    const close = document.createElement('button');
    close.type = 'button';
    close.className = 'dq-close';
    close.textContent = '✕';
    close.title = text('close');
    close.setAttribute('aria-label', text('close'));
    large.append(close);
    putLarge(large, frame);
    // A click beside the picture closes; in a comparison it moves the cut.
    large.addEventListener('click', (event) => { if (!event.target.closest('.dq-pair')) closeLarge(); });
    document.body.append(large);
    large.focus();
  };

  // The comparison: where it is cut, and whether it is shown at all
  document.addEventListener('input', (event) => {
    if (!event.target.matches || !event.target.matches('.dq-cut')) return;
    event.target.closest('.dq-frame').style.setProperty('--dq-cut', `${event.target.value}%`);
  });
  const showAlone = (isAlone) => {
    document.body.classList.toggle('dq-alone', isAlone);
    for (const button of document.querySelectorAll('[data-compare]')) {
      if (button.getAttribute('aria-pressed') !== String(!isAlone)) button.setAttribute('aria-pressed', String(!isAlone));
    }
  };
  const isAlone = () => localStorage.getItem('danqing-compare') === 'off';
  document.addEventListener('click', (event) => {
    const at = (selector) => event.target.closest && event.target.closest(selector);
    const view = at('[data-zoom]');
    if (view) openLarge((view.querySelector('.dq-frame') ? view : view.closest('.dq-cell, .dq-view')).querySelector('.dq-frame'));
    if (at('[data-compare]')) {
      localStorage.setItem('danqing-compare', isAlone() ? 'on' : 'off');
      showAlone(isAlone());
    }
    if (at('.dq-sends button')) setTimeout(wake, 700); // the other tab's stage comes into sight
    if (at('[data-language]')) changeLanguage(at('[data-language]').dataset.language);
    const copy = at('[data-copy]');
    if (copy && navigator.clipboard) {
      navigator.clipboard.writeText(copy.parentElement.querySelector('pre').textContent);
      copy.classList.add('dq-done');
      setTimeout(() => copy.classList.remove('dq-done'), 900);
    }
  });

  // On a phone the stage lies below the fold: it comes into sight when a press begins to fill it
  const ONE_COLUMN = window.matchMedia('(max-width: 640px)');
  let isStageAwaited = false;
  document.addEventListener('click', (event) => {
    if (event.target.closest && event.target.closest('#dq-generate, #dq-i2i-generate')) isStageAwaited = ONE_COLUMN.matches;
  });
  const showStage = () => {
    const stage = isStageAwaited && shownStage();
    if (!stage || !stage.querySelector('.dq-progress')) return;
    isStageAwaited = false;
    stage.scrollIntoView({block: 'start', behavior: 'smooth'});
  };

  // Names for buttons that show only a sign; Gradio draws them late and again
  const GRADIOS = Object.entries(facts.texts).filter(([key]) => key.startsWith('gradio_')); // of its own parts
  const nameButtons = () => {
    for (const [name, key] of Object.entries(facts.titles)) {
      for (const found of document.getElementsByClassName(name)) {
        const button = found.matches('button, a') ? found : found.querySelector('button, a');
        if (button && button.title !== text(key)) {
          button.title = text(key);
          if (!button.textContent.trim()) button.setAttribute('aria-label', text(key));
        }
      }
    }
    for (const [key, [english]] of isChinese ? GRADIOS : []) {
      for (const name of ['aria-label', 'title']) {
        for (const part of document.querySelectorAll(`[${name}="${english}"]`)) part.setAttribute(name, text(key));
      }
    }
    for (const title of isChinese ? document.querySelectorAll('.toast-title') : []) {
      const word = title.firstChild; // Gradio's, for the kind of message
      const key = `toast_${(word?.data || '').trim().toLowerCase()}`;
      if (facts.texts[key]) word.data = `${text(key)} `;
    }
  };
  const begin = () => {
    for (const app of document.querySelectorAll('gradio-app')) app.inert = true;
    setTimeout(open, MAY_OPEN_MS);
    nameButtons();
    let due = null;
    new MutationObserver(() => {
      refocus();
      if (due) return;
      due = setTimeout(() => { due = null; nameButtons(); showAlone(isAlone()); followLarge(); showStage(); seeWhatEnded(); }, 200);
    }).observe(document.body, {childList: true, subtree: true});
    let tries = 0;
    const wait = setInterval(() => {
      tries += 1;
      const isReady = document.querySelector('#dq-stage .dq-card, #dq-stage .dq-stagebox');
      if (isReady || tries > 200) { clearInterval(wait); if (isReady) setTimeout(putBack, 300); }
    }, 100);
    setTimeout(ping, 1500);
  };
  if (document.body) begin(); else document.addEventListener('DOMContentLoaded', begin);
})();
