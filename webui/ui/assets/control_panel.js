/* The ControlNet panel (control_panel.py reads its value).

   Its value is a JSON text, a list of units; what stands as usual is left out. It is drawn when it
   is opened for the first time, and its lists are asked for then. */
(() => {
  'use strict';
  const {isChinese, say, nameOf, make} = window.danqingTexts;
  const USUAL = {
    on: false, type: 'All', image: '', mask: '', module: 'none', model: '', weight: 1, guidance_start: 0,
    guidance_end: 1, control_mode: 'Balanced', resize_mode: 'Crop and Resize', processor_res: -1,
    threshold_a: -1, threshold_b: -1, pixel_perfect: false, low_vram: false, hr_option: 'Both',
  };
  const UNITS = 3;
  const MAKES_MAP = new Set(['image', 'mask', 'module', 'processor_res', 'threshold_a', 'threshold_b', 'pixel_perfect', 'resize_mode']);
  const CHOICES = {
    control_mode: ['Balanced', 'My prompt is more important', 'ControlNet is more important'],
    resize_mode: ['Just Resize', 'Crop and Resize', 'Resize and Fill'],
    hr_option: ['Both', 'Low res only', 'High res only'],
  };
  const textOf = (choice) => say(`ctl_${choice.toLowerCase().replaceAll(' ', '_')}`);
  const FAMILIES = {sd1: 'SD 1.x', sd2: 'SD 2.x', sdxl: 'SDXL'};
  const PREFIX = {txt2img: 'dq-', img2img: 'dq-i2i-'};
  let lists = null;             // a promise, shared by both tabs

  const listed = (isFresh = false) => {
    if (isFresh || !lists) {
      lists = fetch(`ui/controlnet/lists${isFresh ? '?refresh=true' : ''}`).then((answer) => {
        if (!answer.ok) throw new Error(answer.status);
        return answer.json();
      }).catch((error) => { lists = null; throw error; });
    }
    return lists;
  };
  /* An answer, or an error with a sentence for people. */
  const asked = async (address, wish) => {
    const answer = await fetch(address, wish).catch(() => { throw new Error(say('ctl_unread')); });
    if (answer.ok) return answer;
    const {detail} = await answer.json().catch(() => ({}));
    throw new Error(typeof detail === 'string' ? detail : say('ctl_unread'));
  };
  const option = (value, text, attributes = {}) => make('option', '', {value, ...attributes}, text);
  const button = (text, deed, className = 'dq-btn dq-chip') => {
    const made = make('button', className, {type: 'button'}, text);
    made.addEventListener('click', (event) => { event.preventDefault(); deed(made); });
    return made;
  };

  class Panel {
    constructor(element, props) {
      this.props = props;
      const root = element.querySelector('.dq-control');
      this.tab = root.dataset.tab;
      this.units = this.parsed();
      this.shown = 0;
      this.maps = {};               // addresses of maps, by unit
      this.wishes = {};             // the map that is waited for, by unit
      this.told = {};               // what is said in place of a map, by unit
      this.box = make('details', 'dq-ext dq-ctl');
      this.badge = make('b', 'dq-ctl-badge');
      const head = make('summary', 'dq-ext-head');
      head.append(make('span', '', {}, say('ctl_title')), this.badge);
      this.body = make('div', 'dq-plot dq-ext-body');
      this.box.append(head, this.body);
      this.box.addEventListener('toggle', () => { if (this.box.open) this.draw(); });
      root.replaceChildren(this.box);
      this.count();
    }

    parsed() {
      let given = [];
      try { given = JSON.parse(this.props.value || '[]'); } catch { given = []; }
      return Array.from({length: UNITS}, (_, number) => ({...(given[number] || {})}));
    }

    json() { return this.units.some((unit) => Object.keys(unit).length) ? JSON.stringify(this.units) : ''; }

    follow() {
      if ((this.props.value || '') === this.json()) return;
      this.units = this.parsed();
      this.units.forEach((_, number) => this.forgetMap(number));
      this.count();
      if (this.box.open) this.draw();
    }

    get unit() { return this.units[this.shown]; }

    value(name) { return this.unit[name] ?? USUAL[name]; }

    set(name, value, number = this.shown) {
      const unit = this.units[number];
      if (value === USUAL[name]) delete unit[name]; else unit[name] = value;
      if (MAKES_MAP.has(name)) {
        this.forgetMap(number);
        if (this.shownMap) this.showMap();
      }
      this.props.value = this.json();
      this.count();
    }

    count() {
      const on = this.units.filter((unit) => unit.on).length;
      this.badge.textContent = on ? say('ctl_acting', {count: on}) : '';
      this.body.querySelectorAll('[data-unit]').forEach((tab, number) => tab.classList.toggle('dq-on', Boolean(this.units[number].on)));
    }

    async draw() {
      try { this.lists = await listed(); } catch {
        this.body.replaceChildren(make('p', 'dq-soft', {role: 'status'}, say('ctl_unread')));
        return;
      }
      const has = this.lists.models.length;
      this.body.replaceChildren(
        this.tabs(), this.switches(), this.pictures(), this.choices(), ...this.lacking(),
        ...(has ? [] : [make('p', 'dq-soft', {role: 'status'}, say('ctl_no_models'))]),
        this.numbers(), this.knobs(), this.modes(),
      );
      this.count();
    }

    tabs() {
      const row = make('div', 'dq-ctl-tabs', {role: 'tablist'});
      for (let number = 0; number < UNITS; number += 1) {
        const tab = button(say('ctl_unit', {number}), () => { this.shown = number; this.draw(); }, 'dq-ctl-tab');
        tab.dataset.unit = number;
        tab.setAttribute('role', 'tab');
        tab.setAttribute('aria-selected', number === this.shown);
        row.append(tab);
      }
      return row;
    }

    row(...parts) {
      const row = make('div', 'dq-ctl-row');
      row.append(...parts.filter(Boolean));
      return row;
    }

    check(name) {
      const label = make('label', 'dq-plot-check');
      const box = make('input', '', {type: 'checkbox', name});
      box.checked = this.value(name);
      box.addEventListener('change', () => this.set(name, box.checked));
      label.append(box, say(`ctl_${name}`));
      return label;
    }

    switches() { return this.row(this.check('on'), this.check('pixel_perfect'), this.check('low_vram')); }

    // Pictures

    pictures() {
      const box = make('div', 'dq-ctl-pictures');
      this.shownMap = make('img', 'dq-ctl-picture', {alt: say('ctl_map')});
      const map = make('div', 'dq-ctl-drop');
      this.mapHint = make('span', 'dq-soft', {}, say('ctl_map_hint'));
      map.append(this.shownMap, this.mapHint);
      const side = make('div', 'dq-ctl-side');
      side.append(make('span', 'dq-ctl-name', {}, say('ctl_map')), map, button(say('ctl_make_map'), () => this.makeMap()));
      box.append(this.input('image'), side);
      this.showMap();
      const mask = this.value('mask');
      const shown = make('img', 'dq-ext-picture', {alt: say('ctl_mask')});
      if (mask) shown.src = `ui/input/${mask}?small=true`; else shown.hidden = true;
      const line = this.row(
        make('span', 'dq-ctl-name', {}, say('ctl_mask')), this.file('mask', say('ctl_choose_mask')), shown,
        mask && button(say('ctl_clear'), () => { this.set('mask', ''); this.draw(); }),
      );
      line.classList.add('dq-ctl-line');
      const whole = make('div', 'dq-ctl-all');
      whole.append(box, line);
      return whole;
    }

    file(name, text) {
      const label = make('label', 'dq-btn dq-chip dq-plot-file', {}, text);
      const file = make('input', '', {type: 'file', accept: 'image/*', name, 'aria-label': text});
      file.addEventListener('change', () => { if (file.files.length) this.send(name, file.files[0]); });
      label.append(file);
      return label;
    }

    input(name) {
      const side = make('div', 'dq-ctl-side');
      const drop = make('label', 'dq-ctl-drop dq-ctl-take', {tabindex: 0});
      const file = make('input', '', {type: 'file', accept: 'image/*', name, 'aria-label': say('ctl_image')});
      const shown = make('img', 'dq-ctl-picture', {alt: say('ctl_image')});
      const key = this.value(name);
      if (key) shown.src = `ui/input/${key}`; else shown.hidden = true;
      const hint = make('span', 'dq-soft', {}, `${say('ctl_image_hint')}${this.tab === 'img2img' ? `\n${say('ctl_image_usual')}` : ''}`);
      hint.hidden = Boolean(key);
      file.addEventListener('change', () => { if (file.files.length) this.send(name, file.files[0]); });
      drop.addEventListener('dragover', (event) => event.preventDefault());
      drop.addEventListener('drop', (event) => {
        event.preventDefault();
        if (event.dataTransfer.files.length) this.send(name, event.dataTransfer.files[0]);
      });
      drop.addEventListener('paste', (event) => {
        if (!event.clipboardData.files.length) return;
        event.preventDefault();
        this.send(name, event.clipboardData.files[0]);
      });
      drop.append(file, shown, hint);
      side.append(make('span', 'dq-ctl-name', {}, say('ctl_image')), drop);
      if (key) side.append(button(say('ctl_clear'), () => { this.set(name, ''); this.draw(); }));
      return side;
    }

    async send(name, file) {
      const number = this.shown;  // another unit may be shown when the picture has arrived
      try {
        const {key} = await (await asked('ui/input', {method: 'POST', body: file})).json();
        this.set(name, key, number);
        if (name === 'image') this.set('on', true, number);
        this.draw();
      } catch (error) { this.say(number, error.message); }
    }

    async makeMap() {
      const number = this.shown;
      const side = (name) => Number(document.querySelector(`#${PREFIX[this.tab]}${name} input[type="number"]`)?.value) || 512;
      const wish = this.wishes[number] = {};  // a newer one, or a change, makes this one worthless
      this.say(number, say('ctl_waits'));
      try {
        let answer = await asked('ui/controlnet/map', {
          method: 'POST', headers: {'Content-Type': 'application/json'},
          body: JSON.stringify({unit: this.units[number], width: side('width'), height: side('height')}),
        });
        while (answer.status === 202) {
          const {job} = await answer.json();
          await new Promise((resolve) => setTimeout(resolve, 400));
          if (this.wishes[number] !== wish) return;
          answer = await asked(`ui/controlnet/map/${job}`);
        }
        const map = await answer.blob();
        if (this.wishes[number] !== wish) return;
        this.forgetMap(number);
        this.maps[number] = URL.createObjectURL(map);
        this.showMap();
      } catch (error) { if (this.wishes[number] === wish) this.say(number, error.message); }
    }

    forgetMap(number) {
      if (this.maps[number]) URL.revokeObjectURL(this.maps[number]);
      delete this.maps[number];
      delete this.wishes[number];
      delete this.told[number];
    }

    showMap() {
      const map = this.maps[this.shown];
      this.shownMap.hidden = !map;
      this.mapHint.hidden = Boolean(map);
      this.mapHint.textContent = this.told[this.shown] || say('ctl_map_hint');
      if (map) this.shownMap.src = map;
    }

    /* In place of a unit's map. */
    say(number, message) {
      const wish = this.wishes[number];
      this.forgetMap(number);
      if (wish) this.wishes[number] = wish;
      this.told[number] = message;
      this.showMap();
    }

    // What is chosen

    field(name, ...parts) {
      const label = make('label', `dq-ctl-field dq-ctl-${name}`);
      label.append(make('span', 'dq-ctl-name', {}, say(`ctl_${name}`)), ...parts);
      return label;
    }

    menu(name, entries, deed) {
      const box = make('select', '', {name});
      box.append(...entries);
      box.value = this.value(name);
      box.addEventListener('change', () => { this.set(name, box.value); if (deed) deed(); });
      return this.field(name, box);
    }

    choices() {
      const type = this.value('type');
      const isAll = type === 'All';
      const suits = (one) => isAll || one.types.includes(type);
      const kinds = this.lists.types.map((one) => option(one.name, isChinese ? one.zh : one.name));
      const modules = this.lists.modules.filter((one) => one.name === 'none' || one.name === this.value('module') || suits(one));
      const lacking = this.lists.lacking.filter(suits);
      const fitting = this.lists.models.filter(suits);
      const models = fitting.length ? fitting : this.lists.models;
      const chosen = this.value('model');
      const names = models.map((one) => one.name);
      const gone = chosen && !names.includes(chosen) ? [option(chosen, chosen)] : [];
      return this.row(
        this.menu('type', kinds, () => this.useType()),
        this.menu('module', [
          ...modules.map((one) => option(one.name, nameOf(one.name))),
          ...lacking.map((one) => option(one.name, say('ctl_needs', {name: one.name, file: one.files.map((file) => file.file).join(', ')}), {disabled: ''})),
        ], () => this.useModule()),
        this.menu('model', [
          option('', say('ctl_no_model')), ...gone,
          ...models.map((one) => option(one.name, `${one.title}${one.family ? ` · ${FAMILIES[one.family] || one.family}` : ''}`)),
        ]),
        this.refresher(),
      );
    }

    /* Where the files of networks belong, when there is none for the chosen kind of control. */
    lacking() {
      const type = this.value('type');
      const lacking = this.lists.lacking.filter((one) => one.types.includes(type));
      const missing = new Map(lacking.flatMap((one) => one.files).map((one) => [one.file, one.source]));
      if (!missing.size || this.lists.modules.some((one) => one.network && one.types.includes(type))) return [];
      const told = make('p', 'dq-soft dq-ctl-lacking', {}, `${say('ctl_needs_where')} `);
      [...missing].forEach(([file, source], place) => {
        if (place) told.append(', ');
        told.append(make('a', '', {href: source, target: '_blank', rel: 'noopener noreferrer'}, file));
      });
      return [told];
    }

    refresher() {
      const made = button('⟳', async () => {
        made.disabled = true;
        try { await listed(true); } catch { /* draw() says so */ }
        this.draw();
      });
      made.title = say('ctl_refresh');
      made.setAttribute('aria-label', say('ctl_refresh'));
      return made;
    }

    useType() {
      const type = this.lists.types.find((one) => one.name === this.value('type'));
      if (type.name !== 'All') {
        this.set('module', type.module);
        const fitting = this.lists.models.filter((one) => one.types.includes(type.name));
        if (fitting.length && !fitting.some((one) => one.name === this.value('model'))) this.set('model', fitting[0].name);
      }
      this.useModule();
    }

    useModule() {
      for (const name of ['processor_res', 'threshold_a', 'threshold_b']) this.set(name, -1);
      this.draw();
    }

    slider(name, limits, text) {
      const write = (given) => {
        const value = Math.min(limits.max, Math.max(limits.min, Number(given) || 0));
        range.value = box.value = value;
        this.set(name, value);
      };
      const range = make('input', 'dq-ext-slider', {type: 'range', ...limits, 'aria-label': text});
      const box = make('input', '', {type: 'number', ...limits, name, 'aria-label': text});
      const value = this.value(name);
      range.value = box.value = value === -1 ? limits.usual : value;
      range.addEventListener('input', () => write(range.value));
      box.addEventListener('change', () => write(box.value));
      const label = make('label', 'dq-ctl-field dq-ctl-slider');
      label.append(make('span', 'dq-ctl-name', {}, text), range, box);
      return label;
    }

    numbers() {
      return this.row(
        this.slider('weight', {min: 0, max: 2, step: 0.05}, say('ctl_weight')),
        this.slider('guidance_start', {min: 0, max: 1, step: 0.01}, say('ctl_guidance_start')),
        this.slider('guidance_end', {min: 0, max: 1, step: 0.01}, say('ctl_guidance_end')),
      );
    }

    knobs() {
      const module = this.lists.modules.find((one) => one.name === this.value('module'));
      if (!module) return this.row();
      const named = [['processor_res', module.resolution], ['threshold_a', module.knobs[0]], ['threshold_b', module.knobs[1]]];
      return this.row(...named.filter(([, knob]) => knob).map(([name, knob]) => this.slider(
        name, {min: knob.min, max: knob.max, step: knob.step, usual: knob.value}, isChinese ? knob.zh : knob.label,
      )));
    }

    modes() {
      const names = ['control_mode', 'resize_mode', ...(this.tab === 'txt2img' ? ['hr_option'] : [])];
      return this.row(...names.map((name) => this.menu(name, CHOICES[name].map((value) => option(value, textOf(value))))));
    }
  }

  window.danqingControl = (element, props, watch) => {
    const panel = new Panel(element, props);
    watch('value', () => panel.follow());
  };
})();
