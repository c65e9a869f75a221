/* The Settings tab: every setting with what it does, its default and its range.

   What is typed waits until Apply; resets and steps back are made at once, and can be taken back. */
(() => {
  'use strict';
  const {say} = window.danqingTexts;
  const {make, ask} = window.danqingCards;
  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);
  const button = (text, title, doing) => {
    const made = make('button', 'dq-btn', text);
    made.type = 'button';
    if (title) { made.title = title; made.setAttribute('aria-label', title); }
    made.addEventListener('click', doing);
    return made;
  };

  class Setting {
    constructor(facts, tab) {
      this.facts = facts;
      this.tab = tab;
      this.isTyped = false;
      this.host = make('div', 'dq-option');
      this.host.id = `dq-option-${facts.key}`;
      const name = make('label', 'dq-set-name', facts.label);
      this.input = this.control();
      this.input.id = `dq-set-${facts.key}`;
      name.htmlFor = this.input.id;
      if (facts.kind === 'several') { this.input.setAttribute('role', 'group'); this.input.setAttribute('aria-label', facts.label); }
      this.input.addEventListener('input', () => this.typed());
      this.reset = button('↺', say('settings_reset', {value: this.told(facts.default)}), () => tab.send({[facts.key]: null}));
      this.reset.classList.add('dq-set-reset');
      const row = make('div', 'dq-set-row');
      if (facts.kind === 'switch') { name.prepend(this.input); row.append(name, this.reset); } else row.append(this.input, this.reset);
      if (facts.kind !== 'switch') this.host.append(name);
      this.host.append(row);
      if (facts.says) {
        const says = make('p', 'dq-set-says', facts.says);
        says.id = `${this.input.id}-says`;
        this.input.setAttribute('aria-describedby', says.id);
        this.host.append(says);
      }
      this.host.append(make('small', '', [facts.key, this.range(), say('settings_default', {value: this.told(facts.default)})].filter(Boolean).join(' · ')));
      this.words = this.host.textContent.toLowerCase();
    }

    control() {
      const {kind, choices, names, minimum, maximum, whole} = this.facts;
      if (kind === 'choice') {
        const made = make('select');
        choices.forEach((choice, at) => made.add(new Option(names[at] ?? choice, JSON.stringify(choice))));
        return made;
      }
      if (kind === 'several') {
        const made = make('div', 'dq-set-several');
        choices.forEach((choice, at) => {
          const line = make('label', '', names[at] ?? choice);
          const box = make('input');
          Object.assign(box, {type: 'checkbox', value: choice});
          line.prepend(box);
          made.append(line);
        });
        return made;
      }
      if (/prompt$/.test(this.facts.key) || /negative$/.test(this.facts.key)) return Object.assign(make('textarea'), {rows: 2});
      const made = make('input');
      made.type = {switch: 'checkbox', number: 'number'}[kind] || 'text';
      if (kind === 'number') {
        made.step = whole ? '1' : 'any';
        if (minimum !== null) made.min = minimum;
        if (maximum !== null) made.max = maximum;
      }
      return made;
    }

    range() {
      const {kind, minimum, maximum} = this.facts;
      if (kind !== 'number') return '';
      if (minimum !== null && maximum !== null) return `${minimum} – ${maximum}`;
      return minimum !== null ? say('settings_up', {value: minimum}) : '';
    }

    told(value) {
      if (typeof value === 'boolean') return say(value ? 'settings_on' : 'settings_off');
      const at = this.facts.choices.findIndex((choice) => same(choice, value));
      if (at >= 0 && this.facts.names[at]) return this.facts.names[at];
      return (Array.isArray(value) ? value.map((one) => this.told(one)).join(', ') : String(value ?? '')) || say('settings_empty');
    }

    /* What stands in the field, as it is sent. */
    get wanted() {
      const {kind} = this.facts;
      if (kind === 'switch') return this.input.checked;
      if (kind === 'choice') return JSON.parse(this.input.value || 'null');
      if (kind === 'several') return [...this.input.querySelectorAll('input:checked')].map((box) => box.value);
      if (kind === 'number') return this.input.value === '' ? '' : Number(this.input.value);
      return this.input.value;
    }

    get problem() {
      if (this.facts.kind !== 'number' || (this.input.value !== '' && this.input.checkValidity())) return '';
      return say('settings_wrong_number', {label: this.facts.label, value: this.input.value, range: this.range() || say('settings_any')});
    }

    typed() {
      this.isTyped = true;
      this.host.classList.add('dq-set-typed');
      this.input.toggleAttribute('aria-invalid', Boolean(this.problem));
      this.tab.count();
    }

    /* Shows what is kept; what somebody is typing stays. */
    show(value, isForced = false) {
      const now = value === undefined ? this.facts.default : value;
      this.reset.disabled = this.tab.isFrozen;
      this.reset.classList.toggle('dq-set-hidden', same(now, this.facts.default));
      if (this.isTyped && !isForced) return;
      this.isTyped = false;
      this.host.classList.remove('dq-set-typed');
      this.input.removeAttribute('aria-invalid');
      const {kind} = this.facts;
      if (kind === 'switch') this.input.checked = now;
      else if (kind === 'choice') {
        const text = JSON.stringify(now);
        if (![...this.input.options].some((one) => one.value === text)) this.input.add(new Option(this.told(now), text));
        this.input.value = text;
      } else if (kind === 'several') {
        for (const box of this.input.querySelectorAll('input')) box.checked = now.includes(box.value);
      } else this.input.value = Array.isArray(now) ? now.join(', ') : now ?? '';
    }
  }

  class Settings {
    constructor(host) {
      this.host = host;
      this.settings = new Map();
      this.isFrozen = false;
      this.search = make('input');
      Object.assign(this.search, {type: 'search', placeholder: say('settings_search')});
      this.search.setAttribute('aria-label', say('settings_search'));
      this.search.addEventListener('input', () => this.filter());
      const box = make('div', 'dq-set-search');
      box.id = 'dq-settings-search';
      box.append(this.search);
      this.undo = button('↶', say('settings_undo'), () => this.step(-1));
      this.redo = button('↷', say('settings_redo'), () => this.step(1));
      this.undo.id = 'dq-settings-undo';
      this.redo.id = 'dq-settings-redo';
      const all = button(say('settings_reset_all'), '', () => this.resetAll([...this.settings.values()]));
      all.id = 'dq-settings-reset';
      this.apply = button(say('settings_apply'), '', () => this.save());
      this.apply.id = 'dq-settings-apply';
      this.apply.classList.add('dq-set-apply');
      const head = make('div', 'dq-settingshead');
      head.append(box, this.undo, this.redo, all, this.apply);
      this.line = make('p', 'dq-note dq-set-line');
      this.line.setAttribute('role', 'status');
      this.body = make('div');
      host.append(head, this.line, this.body);
      new IntersectionObserver((seen) => { if (seen[0].isIntersecting) this.open(); }).observe(host);
    }

    async run(deed) {
      try { await deed(); } catch (problem) { this.tell(problem.message, true); }
    }

    open() {
      return this.run(async () => {
        const told = await ask('ui/settings');
        if (!this.settings.size) this.draw(told.groups);
        this.present(told);
      });
    }

    draw(groups) {
      for (const {title, note, items} of groups) {
        const group = make('details', 'dq-group');
        group.open = !note;
        const head = make('summary', '', title);
        const own = items.map((facts) => new Setting(facts, this));
        const list = make('div', 'dq-options');
        list.append(...own.map((one) => one.host));
        const reset = button('↺', say('settings_reset_group', {title}), () => this.resetAll(own));
        reset.classList.add('dq-set-resets');
        group.append(head, reset);
        if (note) group.append(make('p', 'dq-set-says', note));
        group.append(list);
        group.danqing = {title: title.toLowerCase(), own, isOpen: group.open};
        for (const one of own) this.settings.set(one.facts.key, one);
        this.body.append(group);
      }
      this.filter();
    }

    present(told, sent = {}) {
      this.isFrozen = told.frozen;
      this.values = told.values;
      for (const [key, one] of this.settings) one.show(told.values[key], key in sent);
      this.undo.disabled = !told.undo;
      this.redo.disabled = !told.redo;
      if (told.frozen) this.tell(say('settings_frozen'));
      this.count();
    }

    get typed() { return [...this.settings.values()].filter((one) => one.isTyped); }

    count() {
      const count = this.typed.length;
      this.apply.textContent = say('settings_apply') + (count ? ` (${count})` : '');
      this.apply.disabled = this.isFrozen;
    }

    tell(text, isWrong = false) {
      this.line.textContent = text;
      this.line.classList.toggle('dq-wrong', isWrong);
    }

    save() {
      const wrong = this.typed.find((one) => one.problem);
      if (wrong) {
        this.tell(wrong.problem, true);
        wrong.input.focus();
        return;
      }
      this.send(Object.fromEntries(this.typed.map((one) => [one.facts.key, one.wanted])));
    }

    send(values) { return this.post('ui/settings', {values}, values); }

    step(by) { return this.post('ui/settings/step', {by}); }

    post(address, body, sent = {}) {
      return this.run(async () => {
        const options = {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)};
        const told = await ask(address, options);
        this.present(told, sent);
        const keys = Object.keys(sent); // a step back or forth may have moved any
        if (!keys.length || keys.some((key) => key.startsWith('postprocessing_'))) {
          window.danqingFormsChanged?.(); // they say on which tabs extensions have fields
        }
        this.tell([told.said, ...told.problems].join(' '));
      });
    }

    resetAll(some) {
      const others = some.filter((one) => one.isTyped || !one.reset.classList.contains('dq-set-hidden'));
      if (!others.length) { this.tell(say('settings_all_default')); return; }
      if (!window.confirm(say('settings_reset_sure', {count: others.length}))) return;
      this.send(Object.fromEntries(others.map((one) => [one.facts.key, null])));
    }

    /* What matches, a whole group when its title does. */
    filter() {
      if (!this.settings.size) return;
      const wanted = this.search.value.trim().toLowerCase();
      let isFound = false;
      for (const group of this.body.children) {
        if (!group.danqing) continue;
        const {title, own, isOpen} = group.danqing;
        const isWhole = title.includes(wanted);
        let isShown = false;
        for (const one of own) {
          const isWanted = isWhole || one.words.includes(wanted);
          one.host.classList.toggle('dq-away', !isWanted);
          isShown = isShown || isWanted;
        }
        group.classList.toggle('dq-away', !isShown);
        group.open = wanted ? isShown : isOpen;
        isFound = isFound || isShown;
      }
      const line = document.getElementById('dq-settings-nothing');
      if (isFound && line) line.remove();
      if (isFound || line) return;
      const made = make('p', 'dq-note', say('settings_nothing'));
      made.id = 'dq-settings-nothing';
      made.setAttribute('role', 'status');
      this.body.append(made);
    }
  }

  window.danqingSettings = (element) => {
    const host = element.querySelector('.dq-set');
    if (host && !host.firstChild) host.danqing = new Settings(host);
  };
})();
