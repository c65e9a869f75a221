/* The gallery: places, search and the wall of pictures. Only what is in sight is drawn and asked for.
   What files say is foreign: it is shown as text, never as HTML. */
(() => {
  'use strict';
  const {say, make, button, ask} = window.danqingCards;
  const BLOCK = 60; // pictures asked for at once
  const GAP = 6;
  const LOOK_EVERY = 4000; // milliseconds
  const STARS = [1, 2, 3, 4, 5];
  const EXAMPLES = [
    ['lighthouse fog', 'words'], ['-blurry', 'not'], ['"long hair"', 'phrase'], ['sampler:euler', 'sampler'],
    ['model:dream lora:ink', 'model'], ['size:512x768 ratio:tall', 'size'], ['stars:>=3', 'stars'],
    ['date:2026-11 date:week', 'date'], ['kind:inpaint', 'kind'], ['negative:lowres', 'negative'],
  ];
  const recall = (name) => { try { return localStorage.getItem(`danqing-gal-${name}`); } catch { return null; } };
  const remember = (name, value) => { try { localStorage.setItem(`danqing-gal-${name}`, value); } catch { /* so be it */ } };
  const act = (deed, body = {}) => ask(`ui/gallery/do/${deed}`, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)});
  const number = (value) => value.toLocaleString();
  const thumbOf = (picture) => `ui/gallery/thumb/${picture.id}?v=${picture.version}`;
  const fileOf = (picture) => `ui/gallery/file/${picture.id}?v=${picture.version}`;
  const nameOf = (path) => path.split(/[\\/]/).filter(Boolean).pop() || path;
  const labelOf = (picture) => [
    picture.text.slice(0, 120) || picture.name, say(`gal_kind_${picture.kind}`), `${picture.width}×${picture.height}`,
    picture.stars ? say('gal_star_n', {count: picture.stars}) : '',
  ].filter(Boolean).join(', ');
  const sign = (picture) => '★'.repeat(picture.stars);

  class Gallery {
    constructor(host, events) {
      this.host = host;
      this.events = events;
      this.wish = {text: '', place: 'all', sort: recall('sort') || 'new'};
      this.cell = Number(recall('cell')) || 168;
      this.picked = new Set();
      this.focused = 0;
      Object.assign(this, {pictures: [], total: null, asked: new Map(), turn: 0, takenTurn: 0});
      this.draw();
      new IntersectionObserver((seen) => { if (seen[0].isIntersecting) this.open(); }).observe(host);
      setInterval(() => this.look(), LOOK_EVERY);
    }


    open() {
      if (this.isOpen) { this.look(); return; }
      this.isOpen = true;
      this.reload();
      this.loadPlaces();
    }

    // Drawing what stays

    draw() {
      this.side = make('nav', 'dq-gal-side');
      this.side.setAttribute('aria-label', say('gal_places'));
      const main = make('section', 'dq-gal-main');
      this.scroll = make('div', 'dq-gal-scroll');
      this.space = make('div', 'dq-gal-space');
      this.space.setAttribute('role', 'group');
      this.space.setAttribute('aria-label', say('gal_pictures'));
      this.scroll.append(this.space);
      this.scroll.addEventListener('scroll', () => this.show(), {passive: true});
      this.bar = make('div', 'dq-gal-picks');
      this.bar.hidden = true;
      const foot = make('div', 'dq-gal-foot');
      this.status = make('span');
      this.status.setAttribute('role', 'status');
      this.undo = button('dq-btn dq-gal-undo', 'gal_undo');
      this.undo.hidden = true;
      foot.append(this.status, this.undo);
      main.append(this.drawTop(), this.scroll, this.bar, foot);
      this.host.replaceChildren(this.side, main);
      this.space.addEventListener('click', (event) => this.clicked(event));
      this.space.addEventListener('keydown', (event) => this.keyed(event));
      new ResizeObserver(() => this.show(true)).observe(this.scroll);
    }

    drawTop() {
      const top = make('div', 'dq-gal-top');
      this.sideButton = button('dq-btn dq-gal-places', 'gal_places', '☰');
      this.sideButton.setAttribute('aria-expanded', 'false');
      this.sideButton.addEventListener('click', () => this.toggleSide());
      this.search = make('input', 'dq-gal-search');
      Object.assign(this.search, {type: 'search', placeholder: say('gal_search'), spellcheck: false});
      this.search.setAttribute('aria-label', say('gal_search'));
      let due = null;
      this.search.addEventListener('input', () => { clearTimeout(due); due = setTimeout(() => this.seek(this.search.value), 200); });
      this.search.addEventListener('keydown', (event) => { if (event.key === 'Enter') { clearTimeout(due); this.seek(this.search.value); } });
      const sort = make('select', 'dq-gal-sort');
      sort.setAttribute('aria-label', say('gal_sort'));
      for (const name of ['new', 'old', 'stars']) sort.append(new Option(say(`gal_sort_${name}`), name));
      sort.value = this.wish.sort;
      sort.addEventListener('change', () => { this.wish.sort = sort.value; remember('sort', sort.value); this.reload(); });
      const cell = make('input', 'dq-gal-cell');
      Object.assign(cell, {type: 'range', min: 96, max: 320, step: 8, value: this.cell, title: say('gal_cell')});
      cell.setAttribute('aria-label', say('gal_cell'));
      cell.addEventListener('input', () => { this.cell = Number(cell.value); remember('cell', cell.value); this.show(true); });
      this.refresh = button('dq-btn dq-sign dq-refresh', 'gal_refresh', '');
      this.refresh.hidden = true;
      this.refresh.addEventListener('click', () => this.run(async () => { await act('look'); this.look(); }));
      top.append(this.sideButton, this.search, this.drawHelp(), sort, cell, this.refresh);
      return top;
    }

    drawHelp() {
      const help = make('details', 'dq-gal-help');
      const head = make('summary', 'dq-btn', '?');
      head.setAttribute('aria-label', say('gal_help'));
      head.title = say('gal_help');
      const box = make('div', 'dq-gal-helpbox');
      for (const [example, what] of EXAMPLES) {
        const row = make('button', 'dq-gal-example');
        row.type = 'button';
        row.append(make('code', '', example), make('span', '', say(`gal_help_${what}`)));
        row.addEventListener('click', () => { this.search.value = example; this.seek(example); help.open = false; });
        box.append(row);
      }
      help.append(head, box);
      help.addEventListener('keydown', (event) => { if (event.key === 'Escape') { help.open = false; head.focus(); } });
      document.addEventListener('click', (event) => { if (!help.contains(event.target)) help.open = false; });
      return help;
    }

    toggleSide(isOpen = !this.host.classList.contains('dq-gal-sided')) {
      this.host.classList.toggle('dq-gal-sided', isOpen);
      this.sideButton.setAttribute('aria-expanded', String(isOpen));
    }

    // Places

    async loadPlaces() {
      try { this.places = await ask('ui/gallery/places'); } catch (problem) { this.tell(problem.message); return; }
      this.drawPlaces();
    }

    drawPlaces() {
      const {places} = this;
      const key = JSON.stringify([places, this.wish.place, this.isStarred()]);
      if (key === this.placesKey) return; // a button that is drawn anew under a finger hears no click
      this.placesKey = key;
      const rows = [
        this.placeRow(say('gal_all'), 'all', places.all), this.placeRow(`★ ${say('gal_starred')}`, 'starred', null),
        this.head('gal_boards', 'gal_new_board', () => this.newBoard()),
        ...places.boards.map((board) => this.placeRow(board.name, `board:${board.id}`, board.count, this.boardTools(board))),
        ...(places.roots.length ? [this.head('gal_folders', places.may_add && 'gal_add_folder', () => this.addFolder())] : []),
        ...this.folderRows(), this.placeRow(say('gal_trash'), 'trash', places.trash),
      ];
      this.refresh.hidden = !places.roots.length; // guests are told of no folders
      this.side.replaceChildren(...rows);
      if (this.total === 0) this.showNothing(); // now it is known who may add folders
    }

    head(key, addKey, add) {
      const row = make('div', 'dq-gal-head');
      row.append(make('h4', '', say(key)));
      if (addKey) {
        const plus = button('dq-gal-plus', addKey, '+');
        plus.addEventListener('click', add);
        row.append(plus);
      }
      return row;
    }

    placeRow(name, place, count, tools = []) {
      const row = make('div', 'dq-gal-place');
      const press = make('button', 'dq-gal-go');
      press.type = 'button';
      const isHere = this.wish.place === (place === 'starred' ? 'all' : place) && this.isStarred() === (place === 'starred');
      press.setAttribute('aria-current', String(isHere));
      press.append(make('span', '', name));
      if (count !== null) press.append(make('small', '', number(count)));
      press.addEventListener('click', () => this.go(place));
      row.append(press, ...tools);
      return row;
    }

    isStarred() { return this.wish.place === 'all' && /^stars:>=1\b/.test(this.wish.text); }

    // Folders below the looked-through ones, each with all it holds
    folderRows() {
      const sums = new Map();
      for (const root of this.places.roots) sums.set(root, 0);
      for (const [folder, count] of this.places.folders) {
        const root = this.places.roots.find((one) => folder === one || folder.startsWith(`${one}/`) || folder.startsWith(`${one}\\`));
        sums.set(root || folder, (sums.get(root || folder) || 0) + count);
      }
      const isOpen = (root) => this.wish.place.startsWith(`folder:${root}`);
      return [...sums].filter(([root, count]) => count || this.places.sources.includes(root)).flatMap(([root, count]) => {
        const tools = this.places.sources.includes(root) ? [this.tool('gal_remove_folder', '✕', () => this.removeFolder(root))] : [];
        const row = this.placeRow(nameOf(root), `folder:${root}`, count, tools);
        row.title = root;
        const inner = isOpen(root) ? this.places.folders.filter(([folder]) => folder !== root && folder.startsWith(root)).slice(-200).reverse() : [];
        return [row, ...inner.map(([folder, inside]) => {
          const made = this.placeRow(folder.slice(root.length + 1), `folder:${folder}`, inside);
          made.classList.add('dq-gal-inner');
          return made;
        })];
      });
    }

    tool(key, text, deed) {
      const made = button('dq-gal-tool', key, text);
      made.addEventListener('click', () => this.run(async () => { await deed(); await this.loadPlaces(); }));
      return made;
    }

    boardTools(board) {
      return [
        this.tool('gal_rename', '✎', async () => { const name = window.prompt(say('gal_board_name'), board.name); if (name) await act('rename-board', {board: board.id, name}); }),
        this.tool('gal_delete_board', '✕', () => this.deleteBoard(board)),
      ];
    }

    async deleteBoard(board) {
      const place = `board:${board.id}`;
      const {ids} = await ask(`ui/gallery/ids?${new URLSearchParams({place})}`);
      await act('delete-board', {board: board.id});
      if (this.wish.place === place) await this.go('all');
      this.tell(say('gal_board_deleted', {name: board.name}), () => this.run(async () => {
        await act('make-board', {name: board.name, ids});
        await this.loadPlaces();
      }));
    }

    async removeFolder(folder) {
      await act('remove-folder', {folder});
      await this.go('all');
      this.tell(say('gal_folder_removed', {name: nameOf(folder)}), () => this.run(async () => {
        await act('add-folder', {folder});
        await this.loadPlaces();
      }));
    }

    newBoard(ids = []) {
      const name = window.prompt(say('gal_board_name'));
      if (name) this.run(async () => { await act('make-board', {name, ids}); await this.loadPlaces(); this.tell(ids.length ? say('gal_on_board', {count: ids.length, name}) : ''); });
    }

    addFolder() {
      const folder = window.prompt(`${say('gal_folder_path')}\n${say('gal_folder_hint')}`);
      if (folder) this.run(async () => { const told = await act('add-folder', {folder}); await this.loadPlaces(); this.go(`folder:${told.folder}`); });
    }

    go(place) {
      const isStarred = place === 'starred';
      this.search.value = isStarred ? 'stars:>=1 ' : this.isStarred() ? '' : this.search.value;
      Object.assign(this.wish, {place: isStarred ? 'all' : place, text: this.search.value.trim()});
      this.picked.clear();
      this.toggleSide(false);
      if (this.places) this.drawPlaces();
      return this.reload();
    }

    seek(text) {
      if (this.wish.text === text.trim()) return;
      this.wish.text = text.trim();
      if (this.places) this.drawPlaces();
      this.reload();
    }

    // Asking

    async run(deed) {
      this.tell('');
      try { return await deed(); } catch (problem) { this.tell(problem.message); return null; }
    }

    tell(text, undo = null) {
      this.status.textContent = text;
      this.undo.hidden = !undo;
      this.undo.onclick = undo;
    }

    query(more) { return new URLSearchParams({...this.wish, ...more}); }

    // The list anew. What is there stays until the first answer comes.
    reload(keepsPlace = false) {
      this.turn += 1;
      this.asked = new Map();
      if (!keepsPlace) { this.scroll.scrollTop = 0; this.focused = 0; }
      this.reloading = this.ask(keepsPlace ? this.first || 0 : 0, keepsPlace);
      return this.reloading;
    }

    // Resolves when the block of this picture is there, or could not be had
    ask(index, isSilent = false) {
      const start = index - (index % BLOCK);
      if (!this.asked.has(start)) this.asked.set(start, this.askBlock(start, isSilent));
      return this.asked.get(start);
    }

    async askBlock(start, isSilent) {
      const {turn} = this;
      try {
        const told = await ask(`ui/gallery/find?${this.query({start, count: BLOCK})}`);
        if (turn === this.turn) { this.take(told, isSilent); return; }
      } catch (problem) {
        if (turn === this.turn) { this.asked.delete(start); this.tell(problem.message); return; }
      }
      await this.reloading; // the list was asked for anew meanwhile: that answer counts
    }

    take(told, isSilent) {
      const isFirst = this.takenTurn !== this.turn;
      if (isFirst) this.pictures = [];
      this.takenTurn = this.turn;
      this.total = told.total;
      this.generation = told.generation;
      told.pictures.forEach((picture, place) => { this.pictures[told.start + place] = picture; });
      if (isFirst && !isSilent) this.tell(say(this.wish.text ? 'gal_found' : 'gal_count', {count: number(told.total)}));
      this.show(true);
      if (isFirst) window.danqingGalleryView.listed();
    }

    // A few seconds have passed: are there new pictures, does a look go on?
    async look() {
      if (!this.isOpen || document.hidden || this.host.offsetParent === null) return;
      const now = await ask('ui/gallery/state').catch(() => null);
      if (!now) return;
      if (now.is_looking) { this.wasLooking = true; this.tell(say('gal_looking', {files: number(now.files), new: number(now.new)})); }
      if (!now.is_looking && this.wasLooking) { this.wasLooking = false; this.tell(say('gal_count', {count: number(this.total || 0)})); }
      if (now.generation === this.generation) return;
      await this.reload(true);
      this.loadPlaces();
    }

    // Showing: only the rows in sight

    show(isFresh = false) {
      if (this.total === null) return;
      const width = this.space.clientWidth;
      if (!width) return;
      const least = Math.min(this.cell, Math.max(96, (width - 2 * GAP) / 3));
      const across = Math.max(1, Math.floor((width + GAP) / (least + GAP)));
      const side = (width - GAP * (across - 1)) / across;
      const rows = Math.ceil(this.total / across);
      Object.assign(this, {across, edge: side});
      this.space.style.height = `${Math.max(0, rows * (side + GAP) - GAP)}px`;
      const top = this.scroll.scrollTop;
      const first = Math.max(0, Math.floor(top / (side + GAP)) - 2) * across;
      const last = Math.min(this.total, (Math.ceil((top + this.scroll.clientHeight) / (side + GAP)) + 2) * across);
      if (!this.total) { this.showNothing(); return; }
      this.space.querySelector('.dq-gal-none')?.remove();
      this.asList(true);
      const there = new Map([...this.space.children].map((child) => [Number(child.dataset.index), child]));
      for (const [index, child] of there) {
        const picture = this.pictures[index];
        const isSame = picture && child.dataset.key === this.keyOf(picture);
        if (index < first || index >= last || (isFresh && !isSame)) { child.remove(); there.delete(index); }
      }
      const missing = [];
      for (let index = first; index < last; index += 1) {
        if (!this.pictures[index]) { missing.push(index); continue; }
        const child = there.get(index) || this.drawCell(this.pictures[index], index);
        child.style.cssText = `width:${side}px;height:${side}px;transform:translate(${(index % across) * (side + GAP)}px,${Math.floor(index / across) * (side + GAP)}px)`;
        if (!there.has(index)) this.space.append(child);
      }
      this.first = Math.min(first + 2 * across, Math.max(0, this.total - 1));
      this.mark();
      clearTimeout(this.asking); // what is only scrolled past is not asked for
      if (missing.length) this.asking = setTimeout(() => missing.forEach((index) => this.ask(index)), 50);
    }

    keyOf(picture) { return `${picture.id} ${picture.stars} ${picture.version}`; }

    /* A list of choices must have some: an empty one is not told as a list. */
    asList(hasPictures) {
      this.space.setAttribute('role', hasPictures ? 'listbox' : 'group');
      if (hasPictures) this.space.setAttribute('aria-multiselectable', 'true');
      else this.space.removeAttribute('aria-multiselectable');
    }

    showNothing() {
      const {place, text} = this.wish;
      const usual = this.places?.may_add ? 'gal_empty' : 'gal_empty_guest';
      const key = text ? 'gal_none' : place === 'trash' ? 'gal_empty_trash' : place.startsWith('board') ? 'gal_empty_board' : usual;
      this.space.style.height = '';
      this.asList(false);
      this.space.replaceChildren(make('p', 'dq-gal-none', say(key)));
      this.mark();
    }

    drawCell(picture, index) {
      const cell = make('div', 'dq-gal-item');
      Object.assign(cell.dataset, {index, id: picture.id, key: this.keyOf(picture)});
      cell.setAttribute('role', 'option');
      cell.setAttribute('aria-label', labelOf(picture));
      cell.setAttribute('aria-posinset', index + 1);
      cell.setAttribute('aria-setsize', this.total);
      cell.title = picture.text.slice(0, 200) || picture.name;
      const image = make('img');
      Object.assign(image, {src: thumbOf(picture), alt: '', decoding: 'async', draggable: false});
      image.addEventListener('error', () => cell.classList.add('dq-gal-lost'), {once: true});
      const pick = make('span', 'dq-gal-pick');
      pick.title = say('gal_pick');
      cell.append(image, pick);
      if (picture.stars) cell.append(make('span', 'dq-gal-stars', sign(picture)));
      if (!['txt2img', 'other'].includes(picture.kind)) cell.append(make('span', 'dq-gal-kind', say(`gal_kind_${picture.kind}`)));
      return cell;
    }

    mark() {
      for (const cell of this.space.querySelectorAll('.dq-gal-item')) {
        cell.setAttribute('aria-selected', String(this.picked.has(Number(cell.dataset.id))));
        cell.tabIndex = Number(cell.dataset.index) === this.focused ? 0 : -1;
      }
      if (!this.space.querySelector('[tabindex="0"]') && this.space.firstChild) this.space.firstChild.tabIndex = 0;
      this.host.classList.toggle('dq-gal-picking', this.picked.size > 0);
      this.drawBar();
    }

    // What can be done with the chosen ones

    drawBar() {
      const ids = [...this.picked];
      this.bar.hidden = !ids.length;
      const key = `${ids.length} ${this.wish.place} ${(this.places ? this.places.boards : []).map((b) => b.id + b.name)}`;
      if (!ids.length || key === this.barKey) return;
      this.barKey = key;
      const press = (name, deed, className = '') => {
        const made = button(`dq-btn ${className}`, name);
        made.addEventListener('click', () => this.run(deed));
        return made;
      };
      const parts = [make('b', '', say('gal_picked', {count: number(ids.length)})), press('gal_pick_all', () => this.pickAll()), press('gal_unpick', () => this.unpick())];
      if (this.wish.place === 'trash') {
        parts.push(press('gal_restore', () => this.restore(ids)), press('gal_purge', () => this.purge(ids), 'dq-gal-danger'));
      } else {
        parts.push(this.starRow(0, (stars) => this.star(ids, stars)), this.boardMenu(ids));
        if (this.wish.place.startsWith('board:')) parts.push(press('gal_off_board', () => this.offBoard(ids)));
        if (ids.length === 2) parts.push(press('gal_compare', () => this.compare(ids)));
        parts.push(press('gal_zip', () => this.zip(ids)), press('gal_delete', () => this.remove(ids), 'dq-gal-danger'));
      }
      this.bar.replaceChildren(...parts);
    }

    starRow(shown, choose) {
      const row = make('span', 'dq-gal-starrow');
      row.setAttribute('role', 'group');
      row.setAttribute('aria-label', say('gal_stars'));
      for (const stars of STARS) {
        const one = make('button', '', stars <= shown ? '★' : '☆');
        one.type = 'button';
        one.setAttribute('aria-label', say('gal_star_n', {count: stars}));
        one.setAttribute('aria-pressed', String(stars === shown));
        one.addEventListener('click', () => this.run(() => choose(stars === shown ? 0 : stars)));
        row.append(one);
      }
      return row;
    }

    boardMenu(ids) {
      const menu = make('select', 'dq-gal-boardmenu');
      menu.setAttribute('aria-label', say('gal_to_board'));
      menu.append(new Option(say('gal_to_board'), ''));
      for (const board of this.places ? this.places.boards : []) menu.append(new Option(board.name, board.id));
      menu.append(new Option(`+ ${say('gal_new_board')}`, 'new'));
      menu.addEventListener('change', () => {
        const {value} = menu;
        const name = menu.selectedOptions[0].textContent;
        menu.value = '';
        if (value === 'new') { this.newBoard(ids); return; }
        if (value) this.run(async () => { await act('put-on-board', {ids, board: Number(value)}); this.tell(say('gal_on_board', {count: ids.length, name})); this.loadPlaces(); });
      });
      return menu;
    }

    async changed(text, undo = null) {
      await this.reload(true);
      this.loadPlaces();
      this.tell(text, undo);
    }

    async star(ids, stars) {
      const before = this.pictures.filter((picture) => picture && ids.includes(picture.id)).map((picture) => [picture.id, picture.stars]);
      await act('star', {ids, stars});
      await this.changed(say('gal_starred_n', {count: ids.length, stars}), () => this.run(async () => {
        for (const old of new Set(before.map(([, was]) => was))) await act('star', {ids: before.filter(([, was]) => was === old).map(([id]) => id), stars: old});
        await this.changed('');
      }));
    }

    async remove(ids) {
      const told = await act('trash', {ids});
      ids.forEach((id) => this.picked.delete(id));
      await this.changed(told.problems.join(' ') || say('gal_trashed', {count: ids.length}), () => this.run(() => this.restore(ids)));
    }

    async restore(ids) {
      const told = await act('restore', {ids});
      ids.forEach((id) => this.picked.delete(id));
      await this.changed(told.problems.join(' ') || say('gal_restored', {count: ids.length}));
    }

    async purge(ids) {
      if (!window.confirm(say('gal_purge_sure', {count: ids.length}))) return;
      const told = await act('purge', {ids});
      this.picked.clear();
      await this.changed(told.problems.join(' ') || say('gal_purged', {count: ids.length}));
    }

    async offBoard(ids) {
      await act('put-on-board', {ids, board: Number(this.wish.place.slice(6)), on: false});
      this.picked.clear();
      await this.changed('');
    }

    async zip(ids) {
      const told = await act('zip', {ids});
      const link = make('a');
      Object.assign(link, {href: `ui/gallery/zip/${told.zip}`, download: ''});
      link.click();
    }

    async pickAll() { for (const id of (await ask(`ui/gallery/ids?${this.query({})}`)).ids) this.picked.add(id); this.mark(); }

    unpick() { this.picked.clear(); this.mark(); }

    compare(ids) { return window.danqingGalleryView.compare(this, ids); }

    // Hands

    pick(index, isRange = false) {
      const picture = this.pictures[index];
      if (!picture) return;
      if (isRange && this.anchor !== undefined) {
        const [from, to] = [Math.min(this.anchor, index), Math.max(this.anchor, index)];
        for (let at = from; at <= to; at += 1) if (this.pictures[at]) this.picked.add(this.pictures[at].id);
      } else if (!this.picked.delete(picture.id)) this.picked.add(picture.id);
      this.anchor = index;
      this.mark();
    }

    clicked(event) {
      const cell = event.target.closest('.dq-gal-item');
      if (!cell) return;
      const index = Number(cell.dataset.index);
      this.focused = index;
      const picks = event.target.closest('.dq-gal-pick') || event.ctrlKey || event.metaKey || event.shiftKey;
      if (picks) this.pick(index, event.shiftKey); else this.view(index);
    }

    keyed(event) {
      const cell = event.target.closest('.dq-gal-item');
      if (!cell || event.altKey) return;
      const index = Number(cell.dataset.index);
      const by = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.across, ArrowDown: this.across, Home: -index, End: this.total - 1 - index}[event.key];
      const ids = this.picked.size ? [...this.picked] : [Number(cell.dataset.id)];
      if (by !== undefined) this.focus(Math.max(0, Math.min(this.total - 1, index + by)));
      else if (event.key === 'Enter') this.view(index);
      else if (event.key === ' ') this.pick(index, event.shiftKey);
      else if (event.key === 'Delete') this.run(() => (this.wish.place === 'trash' ? this.purge(ids) : this.remove(ids)));
      else if (/^[0-5]$/.test(event.key) && !event.ctrlKey && !event.metaKey) this.run(() => this.star(ids, Number(event.key)));
      else if (event.key === 'a' && (event.ctrlKey || event.metaKey)) this.run(() => this.pickAll());
      else if (event.key === 'Escape' && this.picked.size) this.unpick();
      else return;
      event.preventDefault();
      event.stopPropagation();
    }

    focus(index) {
      this.focused = index;
      const top = Math.floor(index / this.across) * (this.edge + GAP);
      if (top < this.scroll.scrollTop) this.scroll.scrollTop = top;
      else if (top + this.edge > this.scroll.scrollTop + this.scroll.clientHeight) this.scroll.scrollTop = top + this.edge - this.scroll.clientHeight;
      this.show();
      this.space.querySelector(`[data-index="${index}"]`)?.focus({preventScroll: true});
    }

    view(index) { this.focused = index; window.danqingGalleryView.open(this, index); }
  }

  window.danqingGalleryParts = {act, thumbOf, fileOf, labelOf, number};
  window.danqingGallery = (element, events) => {
    const host = element.querySelector('.dq-gal');
    if (host && !host.firstChild) new Gallery(host, events);
  };
})();
