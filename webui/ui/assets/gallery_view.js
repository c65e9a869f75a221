/* One picture of the gallery large, with its recipe and history; and two side by side. */
(() => {
  'use strict';
  const {say, make, button, ask} = window.danqingCards;
  const {act, thumbOf, fileOf, labelOf, number} = window.danqingGalleryParts;
  const TARGETS = [['txt2img', 'send_to_txt2img'], ['img2img', 'send_to_img2img'], ['inpaint', 'send_to_inpaint'], ['restore', 'send_to_restore'], ['png_info', 'send_to_png_info']];
  const SEEN_WELL = 512; // pixels; a smaller picture is shown so many whole times larger as fit into it
  const bytes = (size) => (size < 1e6 ? `${Math.round(size / 1024)} KB` : `${(size / 2 ** 20).toFixed(1)} MB`);

  // A window over the page. Its keys belong to it alone: page.js is not told of them.
  let shown = null;
  class Over {
    constructor(gallery, className, name) {
      if (shown) shown.dialog.remove();
      shown = this;
      this.gallery = gallery;
      this.dialog = make('dialog', `dq-gal-over ${className}`);
      this.dialog.setAttribute('aria-label', name);
      this.dialog.addEventListener('close', () => this.left());
      gallery.host.append(this.dialog);
    }

    left() {
      this.dialog.remove();
      if (shown === this) shown = null;
      this.gallery.focus(this.gallery.focused);
    }

    closer() {
      const made = button('dq-gal-close', 'gal_close', '✕');
      made.addEventListener('click', () => this.dialog.close());
      return made;
    }
  }
  document.addEventListener('keydown', (event) => {
    if (!shown) return;
    event.stopImmediatePropagation();
    if (shown.keyed) shown.keyed(event);
  }, true);

  class View extends Over {
    constructor(gallery, index) {
      super(gallery, 'dq-gal-view', say('gal_pictures'));
      this.stage = make('div', 'dq-gal-stage');
      this.image = make('img');
      this.image.addEventListener('error', () => this.stage.classList.add('dq-gal-lost'));
      this.image.addEventListener('click', () => this.zoom());
      const [back, on] = [button('dq-gal-turn dq-gal-back', 'gal_earlier', '‹'), button('dq-gal-turn dq-gal-on', 'gal_later', '›')];
      back.addEventListener('click', () => this.go(-1));
      on.addEventListener('click', () => this.go(1));
      this.stage.append(this.image, back, on, make('p', 'dq-gal-lostword', say('gal_gone')));
      this.side = make('aside', 'dq-gal-facts');
      this.head = make('header');
      this.deeds = make('div', 'dq-gal-deeds');
      this.status = make('p', 'dq-gal-note');
      this.status.setAttribute('role', 'status');
      this.facts = make('div', 'dq-gal-told');
      this.side.append(this.head, this.deeds, this.status, this.facts);
      this.dialog.append(this.stage, this.side, this.closer());
      this.swipes();
      this.dialog.showModal();
      this.show(index);
    }

    // Where we are

    async show(index) {
      const {gallery} = this;
      this.index = gallery.focused = Math.max(0, Math.min(gallery.total - 1, index));
      if (!gallery.pictures[this.index]) await gallery.ask(this.index);
      const picture = gallery.pictures[this.index];
      if (!picture) return;
      this.present(picture);
      for (const near of [this.index + 1, this.index - 1]) {
        const other = gallery.pictures[near];
        if (other) new Image().src = fileOf(other); // the next one is there at once
        else if (near >= 0 && near < gallery.total) gallery.ask(near, true);
      }
    }

    present(picture) {
      const isOther = !this.picture || this.picture.id !== picture.id;
      this.picture = picture;
      if (isOther) {
        this.stage.classList.remove('dq-gal-lost', 'dq-gal-zoomed');
        this.image.style.backgroundImage = `url("${thumbOf(picture)}")`;
        const times = Math.max(1, Math.floor(SEEN_WELL / Math.max(picture.width, picture.height)));
        this.image.style.width = times > 1 ? `${times * picture.width}px` : '';
        this.image.width = picture.width;
        this.image.height = picture.height;
        this.image.src = fileOf(picture);
        this.image.alt = labelOf(picture);
        this.dialog.setAttribute('aria-label', labelOf(picture));
        this.status.textContent = '';
        this.facts.replaceChildren();
      }
      this.drawHead();
      this.drawDeeds();
      if (isOther) this.read(picture);
    }

    async read(picture) {
      try {
        const told = await ask(`ui/gallery/one/${picture.id}`);
        if (this.picture.id === picture.id) this.facts.replaceChildren(...this.drawFacts(told));
      } catch (problem) { this.status.textContent = problem.message; }
    }

    go(by) { this.show(this.index + by); }

    /* The side. Each of its parts is drawn when it has changed and no other with it: a button that is
       taken out while a finger is on it hears no click. */

    drawHead() {
      const {picture, gallery} = this;
      const isTrashed = picture.state === 'trash';
      const place = make('span', 'dq-gal-place', `${number(this.index + 1)} / ${number(gallery.total)}`);
      this.head.replaceChildren(place, isTrashed ? make('span', '', say('gal_trash')) : gallery.starRow(picture.stars, (stars) => this.star(stars)));
      this.drawChosen();
    }

    drawChosen() { this.dialog.classList.toggle('dq-gal-chosen', this.gallery.picked.has(this.picture.id)); }

    press(key, deed, className = '') {
      const made = button(`dq-btn ${className}`, key);
      made.addEventListener('click', () => this.run(deed));
      return made;
    }

    async run(deed) {
      try { await deed(); } catch (problem) { this.status.textContent = problem.message; }
    }

    drawDeeds() {
      const {picture, gallery} = this;
      const of = `${picture.id} ${picture.state}`;
      if (this.deeds.dataset.of === of) return;
      this.deeds.dataset.of = of;
      if (picture.state === 'trash') {
        this.deeds.replaceChildren(this.press('gal_restore', () => this.leaveOut(() => gallery.restore([picture.id]))));
        return;
      }
      const again = this.press('gal_again', () => { gallery.events.again({id: picture.id}); }, 'dq-gal-main-deed');
      again.title = say('gal_again_long');
      const send = make('select', 'dq-gal-send');
      send.setAttribute('aria-label', say('gal_send'));
      send.append(new Option(`${say('gal_send')} …`, ''));
      for (const [target, key] of TARGETS) if (gallery.events[`to_${target}`]) send.append(new Option(say(key), target));
      send.addEventListener('change', () => { if (send.value) { this.dialog.close(); gallery.events[`to_${send.value}`]({id: picture.id}); } });
      const download = make('a', 'dq-btn', say('gal_download'));
      Object.assign(download, {href: `ui/gallery/file/${picture.id}?download=true`, download: picture.name});
      this.deeds.replaceChildren(again, send, download, this.press('gal_delete', () => this.remove(), 'dq-gal-danger'));
    }

    drawFacts(told) {
      const parts = [];
      const part = (key, ...children) => { const box = make('section'); box.append(make('h4', '', say(key)), ...children); parts.push(box); };
      if (told.history.length > 1) part('gal_history', this.drawHistory(told.history));
      if (told.prompt) part('gal_prompt', make('p', 'dq-gal-text', told.prompt));
      if (told.negative_prompt) part('gal_negative', make('p', 'dq-gal-text', told.negative_prompt));
      const copy = this.press('gal_copy', async () => { await navigator.clipboard.writeText(told.infotext); this.status.textContent = say('gal_copied'); });
      if (told.infotext) part('gal_recipe', this.list(told.facts), copy);
      else part('gal_recipe', make('p', 'dq-gal-text', say('gal_no_recipe')));
      if (told.replay || told.same.length) part('gal_replay', ...this.drawReplay(told));
      const when = new Date(told.created * 1000).toLocaleString();
      part('gal_file', this.list([[told.name, `${told.width}×${told.height} · ${bytes(told.bytes)} · ${when}`]]), make('p', 'dq-gal-path', told.path));
      const boards = (this.gallery.places ? this.gallery.places.boards : []);
      if (boards.length && told.state === 'here') part('gal_boards', this.drawBoards(boards, told));
      parts.push(make('p', 'dq-gal-keys', say('gal_keys')));
      return parts;
    }

    // Whether painting it again gives the same picture, and why not; and whether it once did
    drawReplay({replay, same}) {
      const lines = [];
      if (replay) {
        lines.push(make('p', `dq-gal-replay dq-gal-is-${replay.level}`, say(`gal_replay_${replay.level}`)));
        const list = make('ul');
        for (const {key, name, here} of replay.reasons) list.append(make('li', '', say(`gal_why_${key}`, {name, here})));
        if (replay.reasons.length) lines.push(list);
      }
      if (same.length) {
        const row = make('p', 'dq-gal-text', say('gal_replay_same', {count: same.length}));
        lines.push(row);
      }
      return lines;
    }

    list(pairs) {
      const list = make('dl');
      for (const [key, value] of pairs) list.append(make('dt', '', key), make('dd', '', value));
      return list;
    }

    drawBoards(boards, told) {
      const row = make('div', 'dq-chips');
      for (const board of boards) {
        const isOn = told.boards.includes(board.id);
        const chip = make('button', 'dq-btn dq-chip', board.name);
        chip.type = 'button';
        chip.setAttribute('aria-pressed', String(isOn));
        chip.addEventListener('click', () => this.run(async () => {
          await act('put-on-board', {ids: [told.id], board: board.id, on: !isOn});
          await this.read(this.picture);
          this.gallery.loadPlaces();
        }));
        row.append(chip);
      }
      return row;
    }

    // The tree: each picture under the one it was made from
    drawHistory(history) {
      const childrenOf = (id) => history.filter((one) => one.parent === id);
      const branch = (one) => {
        const item = make('li');
        const press = make('button', 'dq-gal-relative');
        press.type = 'button';
        press.setAttribute('aria-current', String(one.id === this.picture.id));
        press.setAttribute('aria-label', labelOf(one));
        const image = make('img');
        Object.assign(image, {src: thumbOf(one), alt: '', loading: 'lazy'});
        press.append(image, make('span', '', `${say(`gal_kind_${one.kind}`)} · ${one.width}×${one.height}`));
        press.addEventListener('click', () => this.present(one));
        item.append(press);
        const inner = childrenOf(one.id);
        if (one.parent !== null || inner.length) {
          const tools = button('dq-gal-tool', 'gal_compare', '⇆');
          tools.addEventListener('click', () => this.run(() => compare(this.gallery, [one.id, this.picture.id])));
          if (one.id !== this.picture.id) item.append(tools);
        }
        if (inner.length) {
          const list = make('ul');
          list.append(...inner.map(branch));
          item.append(list);
        }
        return item;
      };
      const tree = make('ul', 'dq-gal-tree');
      tree.append(...childrenOf(null).map(branch));
      return tree;
    }

    // Doing

    async star(stars) {
      await act('star', {ids: [this.picture.id], stars});
      this.picture.stars = stars;
      this.status.textContent = say('gal_star_n', {count: stars});
      this.drawHead();
      this.gallery.reload(true);
    }

    remove() { return this.leaveOut(() => this.gallery.remove([this.picture.id])); }

    // The picture leaves the list: the next one comes into sight
    async leaveOut(deed) {
      const {index} = this;
      await deed();
      const {status} = this.gallery;
      if (!this.gallery.total) { this.dialog.close(); return; }
      await this.show(index);
      this.status.textContent = status.textContent;
      if (this.gallery.undo.onclick) {
        const undo = this.gallery.undo.onclick;
        this.status.append(' ', this.press('gal_undo', async () => { await undo(); await this.show(index); }));
      }
    }

    // The list has come anew: the picture may stand elsewhere in it
    keepPlace() {
      const index = this.gallery.pictures.findIndex((one) => one && this.picture && one.id === this.picture.id);
      if (index < 0) return;
      this.index = this.gallery.focused = index;
      this.head.querySelector('.dq-gal-place').textContent = `${number(index + 1)} / ${number(this.gallery.total)}`;
    }

    zoom() { this.stage.classList.toggle('dq-gal-zoomed'); }

    keyed(event) {
      if (event.target.matches && event.target.matches('input, select, textarea')) return;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      const isButton = event.target.closest && event.target.closest('button, a');
      if (by) this.go(by);
      else if (/^[0-5]$/.test(event.key)) this.run(() => this.star(Number(event.key)));
      else if (event.key === 'Delete') this.run(() => (this.picture.state === 'trash' ? null : this.remove()));
      else if (event.key === ' ' && !isButton) { this.gallery.pick(this.index); this.drawChosen(); }
      else return;
      event.preventDefault();
    }

    swipes() {
      let from = null;
      this.stage.addEventListener('touchstart', (event) => { from = event.touches.length === 1 ? event.touches[0] : null; }, {passive: true});
      this.stage.addEventListener('touchend', (event) => {
        const to = event.changedTouches[0];
        if (!from || this.stage.classList.contains('dq-gal-zoomed')) return;
        const [right, down] = [to.clientX - from.clientX, to.clientY - from.clientY];
        if (Math.abs(right) > 50 && Math.abs(right) > 2 * Math.abs(down)) this.go(right > 0 ? -1 : 1);
        from = null;
      }, {passive: true});
    }
  }

  // Two pictures and in what their recipes differ

  const runs = (parts) => {
    const line = make('p', 'dq-gal-text');
    for (const [what, text] of parts) line.append(what === '=' ? text : make(what === '-' ? 'del' : 'ins', '', text));
    return line;
  };
  class Compare extends Over {
    constructor(gallery, told) {
      super(gallery, 'dq-gal-compare', say('gal_compare'));
      this.dialog.append(this.closer(), this.drawPictures(told.pictures), this.drawDifferences(told));
      this.dialog.showModal();
    }

    drawPictures([a, b]) {
      const box = make('div', 'dq-gal-pair');
      const images = [a, b].map((picture) => { const image = make('img'); Object.assign(image, {src: fileOf(picture), alt: labelOf(picture)}); return image; });
      const isSameShape = Math.abs(a.width / a.height - b.width / b.height) < 0.01;
      box.append(...images);
      if (!isSameShape) return box;
      box.classList.add('dq-gal-overlaid');
      box.style.setProperty('--dq-ratio', a.width / a.height);
      const cut = make('input', 'dq-gal-cut');
      Object.assign(cut, {type: 'range', min: 0, max: 100, step: 0.5, value: 50});
      cut.setAttribute('aria-label', say('gal_cut'));
      cut.addEventListener('input', () => box.style.setProperty('--dq-at', `${cut.value}%`));
      box.append(make('span', 'dq-gal-border'), cut);
      return box;
    }

    drawDifferences(told) {
      const side = make('div', 'dq-gal-differences');
      const differing = told.rows.filter(([, a, b]) => a !== b);
      const isSame = !differing.length && [...told.prompt, ...told.negative].every(([what]) => what === '=');
      if (isSame) side.append(make('p', 'dq-gal-text', say('gal_same')));
      for (const [key, parts] of [['gal_prompt', told.prompt], ['gal_negative', told.negative]]) if (parts.length) side.append(make('h4', '', say(key)), runs(parts));
      const table = make('table');
      for (const [key, a, b] of told.rows) {
        const row = make('tr', a === b ? 'dq-gal-same' : '');
        row.append(make('th', '', key), make('td', '', a), make('td', '', b));
        table.append(row);
      }
      const all = make('label', 'dq-gal-allrows');
      const check = make('input');
      check.type = 'checkbox';
      check.addEventListener('change', () => table.classList.toggle('dq-gal-whole', check.checked));
      all.append(check, say('gal_all_rows'));
      side.append(table, all);
      return side;
    }
  }
  const compare = async (gallery, [a, b]) => new Compare(gallery, await ask(`ui/gallery/compare/${a}/${b}`));

  window.danqingGalleryView = {open: (gallery, index) => new View(gallery, index), listed: () => shown && shown.keepPlace && shown.keepPlace(), compare};
})();
