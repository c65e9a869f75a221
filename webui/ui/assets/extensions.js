(() => { window.danqingExtensionsTab = () => {}; })();
