// What the JavaScript of A1111's extensions calls. Only on pages with such extensions.
(() => {
  const { ids, opts, localizations } = window.a1111Facts;
  const loaded = [], updated = [], afterUpdated = [], tabChanged = [], optionsChanged = [];

  // A1111's element ids, written as ours: "#txt2img_prompt textarea" → "#dq-prompt textarea".
  const ours = (id) => (document.getElementById(id) ? id : ids[id] || id);
  const translated = (selector) =>
    selector.replace(/#([\w-]+)/g, (whole, id) => `#${ours(id)}`);

  const root = new Proxy(document, {
    get(target, name) {
      if (name === "getElementById") return (id) => target.getElementById(ours(id));
      if (name === "querySelector") return (text) => target.querySelector(translated(text));
      if (name === "querySelectorAll") return (text) => target.querySelectorAll(translated(text));
      const value = target[name];
      return typeof value === "function" ? value.bind(target) : value;
    },
    set(target, name, value) {
      target[name] = value;
      return true;
    },
  });

  // One extension's mistake is not another's.
  function call(functions, ...args) {
    for (const each of functions) {
      try {
        each(...args);
      } catch (error) {
        console.error("An extension's function failed:", error);
      }
    }
  }

  let isReady = false;
  const adder = (list) => (callback) => {
    list.push(callback);
    if (list === loaded && isReady) call([callback]);
  };

  function currentTab() {
    const chosen = document.querySelector('#dq-tabs [role="tab"][aria-selected="true"]');
    return chosen;
  }

  Object.assign(window, {
    gradioApp: () => root,
    opts,
    localization: {},
    onUiLoaded: adder(loaded),
    onUiUpdate: adder(updated),
    onAfterUiUpdate: adder(afterUpdated),
    onUiTabChange: adder(tabChanged),
    onOptionsChanged: adder(optionsChanged),
    get_uiCurrentTab: currentTab,
    get_uiCurrentTabContent: () =>
      [...document.querySelectorAll('#dq-tabs [role="tabpanel"]')].find((e) => e.offsetParent),
    updateInput(target) {
      const event = new Event("input", { bubbles: true });
      Object.defineProperty(event, "target", { value: target });
      target.dispatchEvent(event);
    },
    randomId: () => `task(${Math.random().toString(36).slice(2, 17)})`,
    selected_gallery_index: () =>
      [...document.querySelectorAll(".dq-thumbs [aria-selected]")].findIndex(
        (e) => e.ariaSelected === "true",
      ),
    switch_to_txt2img: () => document.querySelectorAll('#dq-tabs [role="tab"]')[0]?.click(),
    switch_to_img2img: () => document.querySelectorAll('#dq-tabs [role="tab"]')[1]?.click(),
  });

  // Texts that extensions translate, in their own parts of the page.
  function translate() {
    const language = navigator.language.replace("-", "_");
    const close = Object.keys(localizations).find((name) => name.startsWith(language.slice(0, 2)));
    const table = localizations[language] || localizations[close];
    if (!table) return;
    window.localization = table;
    for (const part of document.querySelectorAll(".dq-script, [id^='tab_']")) {
      const walker = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const said = table[node.nodeValue.trim()];
        if (said && node.nodeValue !== said) node.nodeValue = said;
      }
    }
  }

  let before = null, isWaiting = false;
  function changed(mutations) {
    call(updated, mutations);
    if (!isWaiting) {
      isWaiting = true;
      setTimeout(() => {
        isWaiting = false;
        translate();
        call(afterUpdated);
      }, 200);
    }
    const now = currentTab()?.textContent;
    if (now !== before) {
      before = now;
      call(tabChanged);
    }
  }

  window.a1111Loaded = () => {
    if (isReady) return;
    isReady = true;
    call(loaded);
    new MutationObserver(changed).observe(document.body, { childList: true, subtree: true });
    changed([]);
  };
})();
