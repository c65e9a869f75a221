/* The row below Generate: presets, speed, undo and redo. */
(() => {
  'use strict';
  const {say, make, ask} = window.danqingCards;
  const button = (className, text, title = '') => {
    const made = make('button', className, text);
    made.type = 'button';
    if (title) { made.title = title; made.setAttribute('aria-label', title); }
    return made;
  };
  const kits = new Set();

  class Kit {
    constructor(host, act) {
      this.host = host;
      this.act = act;
      this.open = button('dq-btn dq-kit-open', `${say('kit_presets')} ▾`);
      this.open.setAttribute('aria-expanded', 'false');
      this.open.addEventListener('click', () => (this.panel ? this.close() : this.show()));
      const speeds = make('div', 'dq-kit-speeds');
      speeds.setAttribute('role', 'group');
      speeds.setAttribute('aria-label', say('kit_speeds'));
      for (const speed of ['quality', 'speed', 'draft']) {
        const made = button('dq-btn', say(`kit_${speed}`), `${say('kit_speeds')}: ${say(`kit_${speed}`)}`);
        made.addEventListener('click', () => this.act({act: 'speed', speed}));
        speeds.append(made);
      }
      const undo = button('dq-btn dq-kit-undo', '↶', say('kit_undo'));
      const redo = button('dq-btn dq-kit-redo', '↷', say('kit_redo'));
      undo.addEventListener('click', () => this.act({act: 'undo'}));
      redo.addEventListener('click', () => this.act({act: 'redo'}));
      host.replaceChildren(...(host.dataset.presets ? [this.open] : []), speeds, undo, redo, window.danqingBell());
    }

    close() {
      if (!this.panel) return false;
      this.panel.remove();
      this.panel = null;
      this.open.setAttribute('aria-expanded', 'false');
      return true;
    }

    show() {
      this.panel = make('div', 'dq-kit-panel');
      this.open.setAttribute('aria-expanded', 'true');
      this.host.append(this.panel);
      this.fill();
    }

    tell(text) {
      const line = this.panel && this.panel.querySelector('.dq-kit-said');
      if (line) line.textContent = text;
    }

    async fill(said = '') {
      let told;
      try { told = await ask('ui/presets'); } catch (problem) { told = {presets: [], checkpoint: '', problem: problem.message}; }
      if (!this.panel) return;
      const list = make('ul');
      for (const [name, isOwn] of told.presets) list.append(this.row(name, isOwn));
      const line = make('p', 'dq-kit-said', said || told.problem || '');
      line.setAttribute('role', 'status');
      this.panel.replaceChildren(list, this.saving(), this.more(told), line);
    }

    row(name, isOwn) {
      const item = make('li');
      const use = button('dq-kit-use', name);
      use.addEventListener('click', () => { this.act({act: 'preset', name}); this.close(); });
      item.append(use);
      if (!isOwn) {
        item.append(make('small', '', say('kit_shipped')));
        return item;
      }
      const away = button('dq-btn dq-kit-away', '✕', say('kit_delete', {name}));
      away.addEventListener('click', () => {
        if (!window.confirm(say('kit_sure', {name}))) return;
        const body = JSON.stringify({name});
        ask('ui/presets/delete', {method: 'POST', headers: {'Content-Type': 'application/json'}, body})
          .then(() => this.fill()).catch((problem) => this.tell(problem.message));
      });
      item.append(away);
      return item;
    }

    saving() {
      const form = make('form', 'dq-kit-save');
      const input = make('input');
      Object.assign(input, {type: 'text', maxLength: 80, placeholder: say('kit_name')});
      input.setAttribute('aria-label', say('kit_name'));
      const save = button('dq-btn', say('kit_save'));
      save.type = 'submit';
      form.append(input, save);
      form.addEventListener('submit', (event) => {
        event.preventDefault();
        if (!input.value.trim()) { input.focus(); return; }
        this.act({act: 'save', name: input.value.trim()});
        for (const wait of [400, 1500]) setTimeout(() => this.panel && this.fill(), wait);
      });
      return form;
    }

    more(told) {
      const more = make('div', 'dq-kit-more');
      const add = (text, doing) => {
        const made = button('dq-btn', text);
        made.addEventListener('click', doing);
        more.append(made);
        return made;
      };
      if (told.checkpoint) {
        const name = told.checkpoint;
        add(say('kit_keep', {name}), () => { this.act({act: 'checkpoint', keeps: true}); this.close(); });
        if (told.is_kept) add(say('kit_forget', {name}), () => { this.act({act: 'checkpoint', keeps: false}); this.close(); });
      }
      add(say('kit_start'), () => { this.act({act: 'start'}); this.close(); });
      const file = make('input');
      Object.assign(file, {type: 'file', accept: '.json,application/json', hidden: true});
      file.addEventListener('change', () => {
        if (!file.files.length) return;
        ask('ui/presets/import', {method: 'POST', body: file.files[0]})
          .then((found) => this.fill(say('kit_taken', {names: found.names.join(', ')})))
          .catch((problem) => this.tell(problem.message));
      });
      add(say('kit_import'), () => file.click());
      const out = make('a', 'dq-btn', say('kit_export'));
      Object.assign(out, {href: 'ui/presets/export', download: 'presets.json'});
      more.append(out, file);
      return more;
    }
  }

  document.addEventListener('pointerdown', (event) => {
    for (const kit of kits) if (kit.panel && !kit.host.contains(event.target)) kit.close();
  });
  document.addEventListener('keydown', (event) => {
    const shown = [...kits].find((kit) => kit.host.isConnected && kit.host.offsetParent !== null);
    if (event.key === 'Escape' && shown && shown.close()) { event.stopImmediatePropagation(); return; }
    const isText = event.target.matches && event.target.matches('textarea, input:not([type=checkbox]):not([type=radio]):not([type=range]), [contenteditable]');
    if (!shown || isText || event.altKey || !(event.ctrlKey || event.metaKey)) return;
    if (event.target.closest && event.target.closest('.dq-cv, .dq-canvas, dialog')) return; // a canvas has its own
    const letter = event.key.toLowerCase();
    if (letter !== 'z' && letter !== 'y') return;
    event.preventDefault();
    shown.act({act: letter === 'y' || event.shiftKey ? 'redo' : 'undo'});
  }, true);

  window.danqingKit = (element, act) => {
    const host = element.querySelector('.dq-kit');
    if (host && !host.firstChild) kits.add(new Kit(host, act));
  };
})();
