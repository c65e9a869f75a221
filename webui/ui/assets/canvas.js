/* A picture that can be put in and drawn upon: brush, eraser, colour, undo, redo, zoom, pan.

   What it holds is a short JSON text of keys (canvas.py reads it); pictures and drawings themselves
   are sent to the server as they change, so nothing is lost with the page. */
(() => {
  'use strict';
  const {say: text} = window.danqingTexts;
  const LARGEST_LAYER = 4096;   // a drawing on a larger picture is kept this many pixels wide
  const STEPS_KEPT = 60;        // strokes that can be taken back
  const SAVE_AFTER_MS = 150;
  const boards = new Map();     // by element id

  const SIGNS = {
    brush: 'M4 20c4 0 6-1 6-4a2.5 2.5 0 0 0-5 0c0 2-1 3-1 4M10 15 20 4',
    eraser: 'M8 20h12M5 14l8-9 6 5-8 9H8z',
    hand: 'M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3',
    undo: 'M9 14 4 9l5-5M4 9h9a7 7 0 0 1 0 14h-2',
    redo: 'M15 14l5-5-5-5M20 9h-9a7 7 0 0 0 0 14h2',
    wipe: 'M4 7h16M9 7V4h6v3M6.5 7l1 13h9l1-13',
    'zoom-in': 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14M16 16l5 5M11 8v6M8 11h6',
    'zoom-out': 'M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14M16 16l5 5M8 11h6',
    fit: 'M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5',
    open: 'M4 16v4h16v-4M12 15V4M8 8l4-4 4 4',
    remove: 'M6 6l12 12M18 6 6 18',
  };
  const sign = (name) =>
    `<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.9" ` +
    `stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><path d="${SIGNS[name]}"/></svg>`;
  const make = (tag, className, attributes = {}) => {
    const made = document.createElement(tag);
    made.className = className;
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };

  const send = async (data) => {
    const answer = await fetch('ui/input', {method: 'POST', body: data});
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(said.detail || text('canvas_not_sent'));
    return said;
  };
  const load = (key) => new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(image);
    image.onerror = () => reject(new Error(text('canvas_gone')));
    image.src = `ui/input/${key}`;
  });

  class Board {
    /* mode: picture (nothing is drawn), mask (white, half see-through), colour */
    constructor(id, mode) {
      this.id = id;
      this.mode = mode;
      this.state = {picture: '', strokes: '', width: 0, height: 0};
      this.image = null;
      this.base = null;          // canvas: what was drawn before the strokes that can be undone
      this.layer = null;         // canvas: everything drawn
      this.done = [];
      this.undone = [];
      this.tool = mode === 'picture' ? 'hand' : 'brush';
      this.colour = '#c5432b';
      this.opacity = 1;
      this.radius = 0;
      this.view = {zoom: 1, x: 0, y: 0, isFit: true};
      this.pointers = new Map();
      this.isUnsaved = false;
      this.turn = 0;             // of loading: an older load never wins
    }

    attach(element, props, trigger) {
      Object.assign(this, {element, props, trigger});
      this.draw();
      this.listen();
      const known = props.value || '';
      if (known === this.text() && this.image) this.fit(); else this.show(known);
    }

    text() { return this.state.picture ? JSON.stringify(this.state) : ''; }

    // Its parts

    draw() {
      const root = this.element.querySelector('.dq-canvas');
      root.dataset.mode = this.mode;
      root.textContent = '';
      this.bar = make('div', 'dq-canvas-bar', {role: 'toolbar', 'aria-label': text('canvas_tools')});
      this.buttons = {};
      const button = (name, act) => {
        const made = make('button', 'dq-btn dq-canvas-btn', {
          type: 'button', title: text(`canvas_${name}`), 'aria-label': text(`canvas_${name}`), 'data-tool': name,
        });
        made.innerHTML = sign(name);
        made.addEventListener('click', act);
        this.buttons[name] = made;
        return made;
      };
      const group = (...parts) => { const made = make('div', 'dq-canvas-group'); made.append(...parts); this.bar.append(made); };
      if (this.mode !== 'picture') {
        group(
          button('brush', () => this.choose('brush')),
          button('eraser', () => this.choose('eraser')),
          button('hand', () => this.choose('hand')),
        );
        const size = this.slider('canvas_size', 1, 100, 20, (value) => { this.radius = this.toRadius(value); this.render(); });
        this.sizeField = size.querySelector('input');
        const knobs = [size];
        if (this.mode === 'colour') {
          const colour = make('input', 'dq-canvas-colour', {type: 'color', value: this.colour, title: text('canvas_colour'), 'aria-label': text('canvas_colour')});
          colour.addEventListener('input', () => { this.colour = colour.value; this.choose('brush'); });
          knobs.unshift(colour);
          knobs.push(this.slider('canvas_opacity', 5, 100, 100, (value) => { this.opacity = value / 100; }));
        }
        group(...knobs);
        group(button('undo', () => this.undo()), button('redo', () => this.redo()), button('wipe', () => this.wipe()));
      }
      group(
        button('zoom-out', () => this.zoomBy(1 / 1.3)),
        button('zoom-in', () => this.zoomBy(1.3)),
        button('fit', () => this.fit()),
      );
      group(button('open', () => this.file.click()), button('remove', () => this.remove()));
      this.pane = make('div', 'dq-canvas-view', {tabindex: '0', 'aria-label': text(`canvas_${this.mode}_pane`), role: 'group'});
      this.screen = make('canvas', 'dq-canvas-screen');
      this.note = make('button', 'dq-canvas-empty', {type: 'button'});
      this.note.addEventListener('click', () => this.file.click());
      this.file = make('input', 'dq-canvas-file', {type: 'file', accept: 'image/*', 'aria-label': text('canvas_open'), tabindex: '-1'});
      this.file.addEventListener('change', () => { this.put(this.file.files[0]); this.file.value = ''; });
      this.pane.append(this.screen, this.note);
      root.append(this.bar, this.pane, this.file);
      this.choose(this.tool);
      this.say('');
    }

    slider(key, low, high, value, change) {
      const box = make('label', 'dq-canvas-slider', {title: text(key)});
      const name = make('span', 'dq-soft');
      name.textContent = text(key);
      const field = make('input', '', {type: 'range', min: low, max: high, value, 'aria-label': text(key)});
      field.addEventListener('input', () => change(Number(field.value)));
      // The form's own listeners are for fields that Gradio knows.
      for (const kind of ['input', 'change']) field.addEventListener(kind, (event) => event.stopPropagation());
      box.append(name, field);
      return box;
    }

    say(message, isProblem = false) {
      const hint = this.mode === 'picture' ? 'canvas_drop' : 'canvas_drop_draw';
      this.note.textContent = message || text(this.id.endsWith('mask-upload') ? 'canvas_drop_mask' : hint);
      this.note.classList.toggle('dq-canvas-problem', isProblem);
      this.note.hidden = Boolean(this.image) && !message;
      for (const [name, made] of Object.entries(this.buttons)) made.disabled = !this.image && name !== 'open';
      this.refreshButtons();
    }

    refreshButtons() {
      if (!this.buttons.undo) return;
      this.buttons.undo.disabled = !this.done.length;
      this.buttons.redo.disabled = !this.undone.length;
      this.buttons.wipe.disabled = !this.state.strokes && !this.done.length;
    }

    choose(tool) {
      this.tool = tool;
      for (const name of ['brush', 'eraser', 'hand']) {
        if (this.buttons[name]) this.buttons[name].setAttribute('aria-pressed', String(name === tool));
      }
      this.pane.dataset.tool = tool;
      this.render();
    }

    // The picture

    async show(known) {
      const turn = ++this.turn;
      let state = {};
      try { state = known ? JSON.parse(known) : {}; } catch (problem) { state = {}; }
      this.state = {picture: '', strokes: '', width: 0, height: 0, ...state};
      this.done = []; this.undone = []; this.isUnsaved = false;
      if (!this.state.picture) { this.image = this.base = this.layer = null; this.say(''); this.render(); return; }
      try {
        const [image, strokes] = await Promise.all([
          load(this.state.picture), this.state.strokes ? load(this.state.strokes) : null,
        ]);
        if (turn !== this.turn) return;
        this.open(image, strokes);
      } catch (problem) {
        if (turn !== this.turn) return;
        this.image = null;
        this.say(problem.message, true);
        this.render();
      }
    }

    open(image, strokes) {
      this.image = image;
      const share = Math.min(1, LARGEST_LAYER / Math.max(image.naturalWidth, image.naturalHeight));
      this.share = share;
      const layer = () => make('canvas', '', {
        width: Math.max(1, Math.round(image.naturalWidth * share)), height: Math.max(1, Math.round(image.naturalHeight * share)),
      });
      this.base = this.mode === 'picture' ? null : layer();
      this.layer = this.mode === 'picture' ? null : layer();
      if (this.base && strokes) {
        this.base.getContext('2d').drawImage(strokes, 0, 0, this.base.width, this.base.height);
        this.layer.getContext('2d').drawImage(this.base, 0, 0);
      }
      if (this.sizeField) this.radius = this.toRadius(Number(this.sizeField.value));
      this.say('');
      this.fit();
    }

    async put(file) {
      if (!file) return;
      await this.save();
      const before = this.text();
      const turn = ++this.turn;
      this.say(text('canvas_sending'));
      try {
        const {key, width, height} = await send(file);
        if (turn !== this.turn) return;
        this.set({picture: key, strokes: '', width, height});
        await this.show(this.text());
        this.trigger('put', {before, after: this.text()});
        this.keep();
      } catch (problem) {
        this.say(problem.message, true);
      }
    }

    async remove() {
      await this.save();
      const before = this.text();
      this.set({picture: '', strokes: '', width: 0, height: 0});
      this.show('');
      this.trigger('put', {before, after: ''});
      this.keep();
    }

    set(state) {
      this.state = state;
      this.props.value = this.text();
    }

    keep() { document.dispatchEvent(new CustomEvent('dq-keep', {detail: this.element})); }

    // Where things are on the screen

    fit() {
      if (!this.image) return;
      if (!this.pane.clientWidth) { this.view.isFit = true; return; }  // out of sight: when it is shown
      const {clientWidth: width, clientHeight: height} = this.pane;
      const zoom = Math.min(width / this.image.naturalWidth, height / this.image.naturalHeight, 8);
      this.view = {
        zoom, x: (width - this.image.naturalWidth * zoom) / 2, y: (height - this.image.naturalHeight * zoom) / 2, isFit: true,
      };
      this.render();
    }

    zoomBy(factor, at = null) {
      if (!this.image) return;
      const {zoom, x, y} = this.view;
      const [cx, cy] = at || [this.pane.clientWidth / 2, this.pane.clientHeight / 2];
      const to = Math.min(32, Math.max(0.02, zoom * factor));
      this.view = {zoom: to, x: cx - (cx - x) * to / zoom, y: cy - (cy - y) * to / zoom};
      this.render();
    }

    /* Slider 1–100 to a radius in picture pixels: at 100 a fifth of the larger side. */
    toRadius(value) {
      const side = this.image ? Math.max(this.image.naturalWidth, this.image.naturalHeight) : 512;
      return Math.max(0.5, (value / 100) ** 1.6 * side * 0.2);
    }

    place(event) {
      const box = this.pane.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    }

    toPicture([x, y]) { return [(x - this.view.x) / this.view.zoom, (y - this.view.y) / this.view.zoom]; }

    render() {
      if (this.due) return;
      this.due = requestAnimationFrame(() => { this.due = null; this.paint(); });
    }

    paint() {
      const ratio = window.devicePixelRatio || 1;
      const width = Math.round(this.pane.clientWidth * ratio), height = Math.round(this.pane.clientHeight * ratio);
      if (!width || !height) return;
      if (this.screen.width !== width || this.screen.height !== height) { this.screen.width = width; this.screen.height = height; }
      const ctx = this.screen.getContext('2d');
      ctx.setTransform(1, 0, 0, 1, 0, 0);
      ctx.clearRect(0, 0, width, height);
      if (!this.image) return;
      const {zoom, x, y} = this.view;
      ctx.setTransform(zoom * ratio, 0, 0, zoom * ratio, x * ratio, y * ratio);
      ctx.imageSmoothingEnabled = zoom < 3;
      const {naturalWidth, naturalHeight} = this.image;
      ctx.drawImage(this.image, 0, 0);
      if (!this.layer) return;
      ctx.globalAlpha = this.mode === 'mask' ? 0.6 : 1;
      ctx.drawImage(this.layer, 0, 0, naturalWidth, naturalHeight);
      if (this.stroke && this.stroke.opacity < 1) this.trace(ctx, this.stroke);
      ctx.globalAlpha = 1;
      if (this.pointer && this.tool !== 'hand') {
        const [px, py] = this.toPicture(this.pointer);
        for (const [colour, extra] of [['#000', 1.5], ['#fff', 0]]) {
          ctx.beginPath();
          ctx.arc(px, py, this.radius + extra / zoom, 0, 7);
          ctx.strokeStyle = colour;
          ctx.lineWidth = 1 / zoom;
          ctx.stroke();
        }
      }
    }

    // Drawing

    /* Draw a stroke, from one of its points on, in picture pixels. */
    trace(ctx, stroke, from = 0) {
      ctx.save();
      ctx.globalCompositeOperation = stroke.isEraser ? 'destination-out' : 'source-over';
      ctx.globalAlpha = stroke.opacity;
      ctx.strokeStyle = ctx.fillStyle = stroke.colour;
      ctx.lineCap = ctx.lineJoin = 'round';
      const points = stroke.points;
      if (points.length === 1) {
        ctx.beginPath();
        ctx.arc(points[0][0], points[0][1], stroke.radius * points[0][2], 0, 7);
        ctx.fill();
      } else if (stroke.opacity < 1) {
        ctx.lineWidth = stroke.radius * 2;
        ctx.beginPath();
        ctx.moveTo(points[0][0], points[0][1]);
        for (const [x, y] of points.slice(1)) ctx.lineTo(x, y);
        ctx.stroke();
      } else {
        for (let n = Math.max(1, from); n < points.length; n += 1) {
          ctx.lineWidth = stroke.radius * 2 * points[n][2];
          ctx.beginPath();
          ctx.moveTo(points[n - 1][0], points[n - 1][1]);
          ctx.lineTo(points[n][0], points[n][1]);
          ctx.stroke();
        }
      }
      ctx.restore();
    }

    onLayer(canvas, act) {
      const ctx = canvas.getContext('2d');
      ctx.setTransform(this.share, 0, 0, this.share, 0, 0);
      act(ctx);
      ctx.setTransform(1, 0, 0, 1, 0, 0);
    }

    begin(event) {
      this.stroke = {
        isEraser: this.tool === 'eraser', colour: this.mode === 'mask' ? '#ffffff' : this.colour,
        opacity: this.tool === 'eraser' ? 1 : this.opacity, radius: this.radius, points: [],
      };
      this.extend(event);
    }

    extend(event) {
      const {stroke} = this;
      const from = stroke.points.length;
      for (const one of (event.getCoalescedEvents && event.getCoalescedEvents().length ? event.getCoalescedEvents() : [event])) {
        const [x, y] = this.toPicture(this.place(one));
        const weight = one.pointerType === 'pen' && one.pressure ? Math.max(0.15, one.pressure) : 1;
        stroke.points.push([x, y, weight]);
      }
      if (stroke.opacity === 1) this.onLayer(this.layer, (ctx) => this.trace(ctx, stroke, from));
      this.render();
    }

    finish() {
      const {stroke} = this;
      this.stroke = null;
      if (!stroke) return;
      if (stroke.opacity < 1) this.onLayer(this.layer, (ctx) => this.trace(ctx, stroke));
      this.done.push(stroke);
      this.undone = [];
      if (this.done.length > STEPS_KEPT) {
        const oldest = this.done.shift();
        this.onLayer(this.base, (ctx) => this.apply(ctx, oldest));
      }
      this.changed();
    }

    apply(ctx, stroke) {
      if (stroke.isWipe) ctx.clearRect(0, 0, this.image.naturalWidth, this.image.naturalHeight);
      else this.trace(ctx, stroke);
    }

    cancel() {  // a second finger came down: it was no stroke
      if (!this.stroke) return;
      this.stroke = null;
      this.redraw();
    }

    redraw() {
      const ctx = this.layer.getContext('2d');
      ctx.clearRect(0, 0, this.layer.width, this.layer.height);
      ctx.drawImage(this.base, 0, 0);
      this.onLayer(this.layer, (inner) => { for (const stroke of this.done) this.apply(inner, stroke); });
      this.render();
    }

    undo() { if (this.done.length) { this.undone.push(this.done.pop()); this.redraw(); this.changed(); } }
    redo() { if (this.undone.length) { this.done.push(this.undone.pop()); this.redraw(); this.changed(); } }
    wipe() { if (this.layer) { this.done.push({isWipe: true}); this.undone = []; this.redraw(); this.changed(); } }

    changed() {
      this.isUnsaved = true;
      this.refreshButtons();
      this.render();
      clearTimeout(this.saveTimer);
      this.saveTimer = setTimeout(() => this.save(), SAVE_AFTER_MS);
    }

    /* Send what is drawn; resolves when the server has it. */
    async save() {
      clearTimeout(this.saveTimer);
      if (this.saving) await this.saving;
      if (!this.isUnsaved || !this.layer) return;
      this.isUnsaved = false;
      this.saving = this.sendStrokes();
      await this.saving;
      this.saving = null;
    }

    async sendStrokes() {
      const {turn, layer} = this;
      try {
        const data = this.isBlank() ? null : await new Promise((resolve) => { layer.toBlob(resolve, 'image/png'); });
        const key = data ? (await send(data)).key : '';
        if (turn !== this.turn) return;
        this.set({...this.state, strokes: key});
        this.refreshButtons();
        this.keep();
      } catch (problem) {
        this.isUnsaved = true;
        clearTimeout(this.saveTimer);
        this.saveTimer = setTimeout(() => this.save(), 2000);
      }
    }

    /* True when nothing is drawn: a copy small enough to look through is empty. */
    isBlank() {
      const small = make('canvas', '', {width: 256, height: 256});
      const ctx = small.getContext('2d', {willReadFrequently: true});
      ctx.drawImage(this.layer, 0, 0, 256, 256);
      const {data} = ctx.getImageData(0, 0, 256, 256);
      for (let n = 3; n < data.length; n += 4) if (data[n]) return false;
      return true;
    }

    // Pointers, keys, files

    listen() {
      const {pane} = this;
      pane.addEventListener('pointerdown', (event) => {
        if (!this.image || event.target === this.note) return;
        const isDrawing = this.tool !== 'hand' && event.button === 0 && !this.isSpace;
        if (this.mode === 'picture' && event.pointerType === 'touch' && this.view.isFit) return;
        pane.focus({preventScroll: true});
        pane.setPointerCapture(event.pointerId);
        this.pointers.set(event.pointerId, this.place(event));
        if (this.pointers.size > 1) { this.cancel(); return; }
        this.pointer = this.place(event);
        if (isDrawing) this.begin(event);
        event.preventDefault();
      });
      pane.addEventListener('pointermove', (event) => {
        const now = this.place(event);
        this.pointer = event.pointerType === 'touch' ? null : now;
        const before = this.pointers.get(event.pointerId);
        if (before && this.pointers.size > 1) this.pinch(event.pointerId, before, now);
        else if (before && this.stroke) this.extend(event);
        else if (before) this.pan(now[0] - before[0], now[1] - before[1]);
        if (before) this.pointers.set(event.pointerId, now);
        else if (this.mode !== 'picture') this.render();
      });
      const up = (event) => {
        this.pointers.delete(event.pointerId);
        this.finish();
      };
      pane.addEventListener('pointerup', up);
      pane.addEventListener('pointercancel', (event) => { this.pointers.delete(event.pointerId); this.cancel(); });
      pane.addEventListener('pointerleave', () => { this.pointer = null; this.render(); });
      pane.addEventListener('wheel', (event) => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        this.zoomBy(Math.exp(-event.deltaY / 300), this.place(event));
      }, {passive: false});
      pane.addEventListener('keydown', (event) => this.key(event));
      pane.addEventListener('keyup', (event) => { if (event.key === ' ') this.isSpace = false; });
      pane.addEventListener('dragover', (event) => { event.preventDefault(); pane.classList.add('dq-canvas-over'); });
      pane.addEventListener('dragleave', () => pane.classList.remove('dq-canvas-over'));
      pane.addEventListener('drop', (event) => {
        event.preventDefault();
        pane.classList.remove('dq-canvas-over');
        this.drop(event.dataTransfer);
      });
      if (this.sizes) this.sizes.disconnect();
      this.sizes = new ResizeObserver(() => { if (this.view.isFit) this.fit(); else this.render(); });
      this.sizes.observe(pane);
    }

    pan(dx, dy) {
      this.view = {zoom: this.view.zoom, x: this.view.x + dx, y: this.view.y + dy};
      this.render();
    }

    pinch(id, before, now) {
      const other = [...this.pointers].find(([key]) => key !== id)[1];
      const span = ([x, y]) => Math.hypot(x - other[0], y - other[1]) || 1;
      this.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
      this.zoomBy(span(now) / span(before), [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
    }

    key(event) {
      const letter = event.key.toLowerCase();
      const isCommand = event.ctrlKey || event.metaKey;
      const act =
        isCommand && letter === 'z' && !event.shiftKey ? () => this.undo()
        : isCommand && (letter === 'y' || letter === 'z') ? () => this.redo()
        : isCommand ? null
        : letter === '[' ? () => this.resize(-5)
        : letter === ']' ? () => this.resize(5)
        : letter === '0' ? () => this.fit()
        : letter === 'b' && this.buttons.brush ? () => this.choose('brush')
        : letter === 'e' && this.buttons.eraser ? () => this.choose('eraser')
        : letter === ' ' ? () => { this.isSpace = true; }
        : null;
      if (!act) return;
      event.preventDefault();
      act();
    }

    resize(by) {
      if (!this.sizeField) return;
      this.sizeField.value = Number(this.sizeField.value) + by;
      this.radius = this.toRadius(Number(this.sizeField.value));
      this.render();
    }

    async drop(data) {
      const file = [...data.files].find((one) => one.type.startsWith('image/') || !one.type);
      if (file) { this.put(file); return; }
      // A picture of this page, such as a result or a thumbnail; never one of another host.
      const address = data.getData('text/uri-list');
      if (!address || new URL(address, window.location.href).origin !== window.location.origin) return;
      const answer = await fetch(address.replace('/ui/thumb/', '/ui/picture/'));
      if (answer.ok) this.put(await answer.blob());
    }
  }

  window.danqingCanvas = {
    mount(element, props, trigger, watch) {
      const root = element.querySelector('.dq-canvas');
      const {board: id, mode} = root.dataset;
      if (!boards.has(id)) boards.set(id, new Board(id, mode));
      const board = boards.get(id);
      board.attach(element, props, trigger);
      watch('value', () => { if ((props.value || '') !== board.text()) board.show(props.value || ''); });
    },
    /* What is drawn but not yet sent, sent; page.js waits for it before Generate. */
    isUnsaved: () => [...boards.values()].some((board) => board.isUnsaved || board.saving),
    flush: () => Promise.all([...boards.values()].map((board) => board.save())),
  };

  // A picture on the clipboard goes to the canvas in sight
  document.addEventListener('paste', (event) => {
    const file = [...(event.clipboardData ? event.clipboardData.files : [])].find((one) => one.type.startsWith('image/'));
    const board = [...boards.values()].find((one) => one.pane && one.pane.offsetParent !== null);
    if (!file || !board) return;
    event.preventDefault();
    board.put(file);
  });
})();
