/* The Train tab: fields tell their values, pictures are ticked (train_view.py, train_words.py). */
(() => {
  'use strict';
  const chosen = new Set(); // names of ticked pictures; they outlive a new drawing of the set
  const drawn = new WeakMap(); // field → the words it was drawn with; attributes of ours do not outlive a drawing
  let setName = '';

  const figures = () => [...document.querySelectorAll('#dq-trn-pictures figure')];
  const boxOf = (figure) => figure.querySelector('[data-pick]');
  const wordsOf = (figure) => figure.querySelector('textarea').value.toLowerCase().split(',').map((tag) => tag.trim());
  const FITS = {
    all: () => true,
    none: () => false,
    tag: (figure, value) => wordsOf(figure).includes(value),
    mark: (figure, value) => figure.dataset.marks.split(' ').includes(value),
  };

  const count = () => {
    for (const place of document.querySelectorAll('[data-chosen]')) {
      place.textContent = chosen.size ? place.dataset.chosen.replace('{count}', chosen.size) : '';
    }
    for (const button of document.querySelectorAll('[data-needs-chosen]')) button.disabled = !chosen.size;
  };
  const choose = (kind, value) => {
    chosen.clear();
    for (const figure of figures()) {
      boxOf(figure).checked = FITS[kind](figure, value);
      if (boxOf(figure).checked) chosen.add(boxOf(figure).dataset.pick);
    }
    const first = figures().find((figure) => boxOf(figure).checked);
    if (first && kind !== 'all') first.scrollIntoView({block: 'nearest', behavior: 'smooth'});
    count();
  };
  // Gradio keeps elements that stay; a field in which somebody typed would not show new words.
  const showWords = (field) => {
    if (drawn.has(field) && drawn.get(field) !== field.defaultValue) field.value = field.defaultValue;
    drawn.set(field, field.defaultValue);
  };
  const drawnAnew = () => {
    const now = document.querySelector('#dq-trn-pictures .dq-trn-set')?.dataset.set || '';
    if (now !== setName) chosen.clear();
    setName = now;
    const there = new Set(figures().map((figure) => boxOf(figure).dataset.pick));
    for (const name of chosen) if (!there.has(name)) chosen.delete(name);
    for (const figure of figures()) {
      boxOf(figure).checked = chosen.has(boxOf(figure).dataset.pick);
      showWords(figure.querySelector('textarea'));
    }
    count();
  };

  const search = (element, text) => {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of element.querySelectorAll('[data-words]')) {
      row.hidden = !words.every((word) => row.dataset.words.includes(word));
    }
    for (const part of element.querySelectorAll('details')) {
      const found = part.querySelector('[data-words]:not([hidden])');
      part.hidden = !found;
      if (words.length) part.open = Boolean(found);
    }
  };
  const valueOf = (field) => (field.type === 'checkbox' ? String(field.checked) : field.value);
  const fieldsAround = (button) => {
    const form = button.closest('[data-form]');
    const fields = form ? form.querySelectorAll('[data-field]') : [];
    return Object.fromEntries([...fields].map((field) => [field.dataset.field, valueOf(field)]));
  };

  const mount = (element, tell) => {
    element.addEventListener('change', ({target}) => {
      if (target.dataset.option) {
        target.closest('.dq-trn-row').classList.add('dq-changed');
        tell({act: 'option', name: target.dataset.option, value: valueOf(target)});
      }
      if (target.dataset.caption) tell({act: 'caption', name: target.dataset.caption, value: target.value});
      if (target.dataset.pick) {
        chosen[target.checked ? 'add' : 'delete'](target.dataset.pick);
        count();
      }
    });
    element.addEventListener('input', ({target}) => {
      if (target.dataset.search) search(element, target.value);
    });
    element.addEventListener('click', ({target}) => {
      const button = target.closest('[data-act], [data-choose]');
      if (!button || !element.contains(button)) return;
      if (button.dataset.choose) choose(button.dataset.choose, button.dataset.value);
      else tell({...button.dataset, fields: fieldsAround(button), picked: [...chosen]});
    });
    if (element.closest('#dq-trn-pictures')) {
      const isOurs = ({target}) => (target.closest ? target : target.parentElement)?.closest('[data-chosen]');
      new MutationObserver((changes) => { if (!changes.every(isOurs)) drawnAnew(); }) // counting writes there
        .observe(element, {childList: true, subtree: true, characterData: true});
      drawnAnew();
    }
  };
  window.danqingTrain = {mount};
})();
