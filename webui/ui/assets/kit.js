/* The row below Generate: presets, speed, undo and redo. */
(() => {
  'use strict';
  const {say, make, ask} = window.danqingCards;
  const {nameOf} = window.danqingTexts;
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
      const undo = button('dq-btn dq-kit-undo', '↶', say('kit_undo'));
      const redo = button('dq-btn dq-kit-redo', '↷', say('kit_redo'));
      undo.addEventListener('click', () => this.act({act: 'undo'}));
      redo.addEventListener('click', () => this.act({act: 'redo'}));
      host.replaceChildren(...(host.dataset.presets ? [this.open] : []), this.drawSpeeds(), undo, redo, window.danqingBell());
    }

    /* A radio: what the form stands at is chosen, whoever put it there (cost.py says it). */
    drawSpeeds() {
      const row = make('div', 'dq-kit-speeds');
      row.setAttribute('role', 'radiogroup');
      row.setAttribute('aria-label', say('kit_speeds'));
      this.speeds = ['quality', 'speed', 'draft'].map((speed) => {
        const option = make('label', 'dq-btn');
        const input = make('input');
        Object.assign(input, {type: 'radio', name: `dq-speed-${this.host.dataset.tab}`, value: speed});
        input.addEventListener('change', () => this.act({act: 'speed', speed}));
        option.append(input, say(`kit_${speed}`));
        row.append(option);
        return input;
      });
      this.watchSpeeds();
      return row;
    }

    watchSpeeds() {
      const cost = this.host.closest('.dq-ask').querySelector('.dq-costbox');
      if (!cost) { requestAnimationFrame(() => this.watchSpeeds()); return; } // drawn a moment later
      const look = () => this.showSpeed(cost.querySelector('[data-speeds]'));
      new MutationObserver(look).observe(cost, {childList: true, subtree: true, attributes: true, attributeFilter: ['data-speeds']});
      look();
    }

    showSpeed(told) {
      if (!told) return;
      const fitting = told.dataset.speeds.split(' ');
      const chosen = this.speeds.filter((input) => fitting.includes(input.value));
      if (!chosen.some((input) => input.checked)) for (const input of this.speeds) input.checked = input === chosen[0];
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

    async fill(said = '', undo = null) {
      let told;
      try { told = await ask('ui/presets'); } catch (problem) { told = {presets: [], checkpoint: '', problem: problem.message}; }
      if (!this.panel) return;
      const list = make('ul');
      for (const [name, isOwn] of told.presets) list.append(this.row(name, isOwn));
      const line = make('p', 'dq-kit-said', said || told.problem || '');
      line.setAttribute('role', 'status');
      if (undo) {
        const back = button('dq-btn', say('gal_undo'));
        back.addEventListener('click', () => this.run(undo));
        line.append(' ', back);
      }
      this.panel.replaceChildren(list, this.saving(), this.more(told), line);
    }

    row(name, isOwn) {
      const item = make('li');
      const use = button('dq-kit-use', isOwn ? name : nameOf(name));
      use.addEventListener('click', () => { this.act({act: 'preset', name}); this.close(); });
      item.append(use);
      if (!isOwn) {
        item.append(make('small', '', say('kit_shipped')));
        return item;
      }
      const away = button('dq-btn dq-kit-away', '✕', say('kit_delete', {name}));
      away.addEventListener('click', () => this.run(async () => {
        const body = JSON.stringify({name});
        const told = await ask('ui/presets/delete', {method: 'POST', headers: {'Content-Type': 'application/json'}, body});
        await this.fill(say('kit_deleted', {name}), () => this.take(JSON.stringify(told)));
      }));
      item.append(away);
      return item;
    }

    run(deed) { return deed().catch((problem) => this.tell(problem.message)); }

    /* Presets from a file, or one that was deleted. */
    async take(body) {
      const found = await ask('ui/presets/import', {method: 'POST', body});
      await this.fill(say('kit_taken', {names: found.names.join(', ')}));
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
        if (file.files.length) this.run(() => this.take(file.files[0]));
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
