onUiLoaded(function () { document.body.dataset.recorder = "loaded"; });
