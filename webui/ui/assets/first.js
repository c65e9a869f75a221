/* Before anything else of the page: the language a person chose stands before the browser's. Gradio
   asks the browser, and its other scripts come too late to tell it otherwise (first_script.py). */
(() => {
  'use strict';
  const [, chosen] = document.cookie.match(/(?:^|;\s*)danqing-language=(en|zh)\b/) || [];
  if (!chosen) return;
  const tag = chosen === 'zh' ? 'zh-CN' : 'en';
  Object.defineProperty(navigator, 'language', {get: () => tag, configurable: true});
  Object.defineProperty(navigator, 'languages', {get: () => [tag], configurable: true});
})();
