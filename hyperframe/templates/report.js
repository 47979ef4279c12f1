"use strict";
// Draws the interactive elements of a report: points, lines with a slider, and values over a plane.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const COLOURS = 7;
  // Viridis (S. van der Walt, N. Smith 2015) at nine places.
  const SCALE = ["440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725"]
    .map((hex) => [0, 2, 4].map((place) => parseInt(hex.slice(place, place + 2), 16)));

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

  function make(parent, tag, properties = {}) {
    const element = document.createElement(tag);
    Object.assign(element, properties);
    parent.append(element);
    return element;
  }

  function draw(parent, tag, attributes) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    parent.append(element);
    return element;
  }

  function written(value) {
    if (!isNumber(value)) return "–";
    if (value === 0) return "0";
    const size = Math.abs(value);
    return size >= 1e6 || size < 1e-4 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  }

  // The least and the greatest of the numbers; loops, since a call with a million arguments fails.
  function range(values) {
    let low = Infinity, high = -Infinity;
    for (const value of values) {
      if (!isNumber(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
    if (low > high) return [0, 1];
    return low === high ? [low - 0.5, high + 0.5] : [low, high];
  }

  function widened([low, high]) {
    const edge = 0.04 * (high - low);
    return [low - edge, high + edge];
  }

  function ticks([low, high], count) {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) || 10);
    const found = [];
    for (let place = Math.ceil(low / step); place * step <= high; place++) found.push(Number((place * step).toPrecision(12)));
    return found;
  }

  // Whether places, such as 1, 2, 5, 10, 20, lie more evenly by their logarithms.
  function isGeometric(places) {
    const uneven = (values) => {
      const gaps = values.slice(1).map((value, index) => Math.abs(value - values[index]));
      return Math.max(...gaps) / Math.min(...gaps);
    };
    return places.length > 2 && places.every((place) => place > 0) && uneven(places) > 3 * uneven(places.map(Math.log));
  }

  function logarithmicTicks([low, high], count) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const factor of [1, 2, 5]) found.push(Number(`${factor}e${power}`));
    }
    const inside = found.filter((value) => value >= low && value <= high);
    return inside.length <= count ? inside : inside.filter((value) => Number.isInteger(Math.log10(value)));
  }

  // A canvas of the stage's width, sharp on every screen.
  function sheet(canvas, height) {
    const width = canvas.clientWidth, ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
    return { pen, width, height };
  }

  // Where a plot's inside lies, and how numbers become places in it.
  function frame(width, height, right, xs, ys, scaled = (value) => value) {
    const box = { left: 54, top: 12, right: width - right, bottom: height - 44 };
    const [first, last] = xs.map(scaled);
    const x = (value) => box.left + ((scaled(value) - first) / (last - first)) * (box.right - box.left);
    const y = (value) => box.bottom - ((value - ys[0]) / (ys[1] - ys[0])) * (box.bottom - box.top);
    return { box, x, y, xs, ys, across: Math.max(3, Math.floor(width / 110)) };
  }

  function axes(pen, plot, labels, lined) {
    const { box } = plot;
    pen.strokeStyle = colour("grid");
    pen.fillStyle = colour("quiet");
    pen.lineWidth = 1;
    pen.textAlign = "center";
    pen.textBaseline = "top";
    for (const value of ticks(plot.xs, plot.across)) {
      if (lined) line(pen, plot.x(value), box.top, plot.x(value), box.bottom);
      pen.fillText(written(value), plot.x(value), box.bottom + 6);
    }
    pen.fillText(labels[0], (box.left + box.right) / 2, box.bottom + 25, box.right - box.left);
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    for (const value of ticks(plot.ys, 5)) {
      if (lined) line(pen, box.left, plot.y(value), box.right, plot.y(value));
      pen.fillText(written(value), box.left - 6, plot.y(value));
    }
    turned(pen, labels[1], 10, (box.top + box.bottom) / 2, box.bottom - box.top);
  }

  function line(pen, x0, y0, x1, y1) {
    pen.beginPath();
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
    pen.stroke();
  }

  function turned(pen, text, x, y, length) {
    pen.save();
    pen.translate(x, y);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.textBaseline = "middle";
    pen.fillText(text, 0, 0, length);
    pen.restore();
  }

  function choice(parent, words, names, chosen) {
    const label = make(parent, "label", { textContent: words });
    const select = make(label, "select");
    names.forEach((name, index) => make(select, "option", { textContent: name, value: index, selected: index === chosen }));
    return select;
  }

  function scatter(stage, data, caption) {
    const names = Object.keys(data.series);
    if (!names.length) throw new Error("it has no points");
    const controls = make(stage, "div", { className: "controls" });
    const which = choice(controls, "Points", names, 0);
    let across, upward;
    const canvas = make(stage, "canvas", { className: "plot", role: "img", ariaLabel: caption });
    const count = make(stage, "div", { className: "read" });

    function paint() {
      const series = data.series[names[which.value]];
      const i = Number(across.value), j = Number(upward.value);
      const points = series.points.filter((point) => isNumber(point[i]) && isNumber(point[j]));
      const { pen, width, height } = sheet(canvas, Math.max(260, Math.min(460, 0.6 * canvas.clientWidth)));
      const limits = [i, j].map((axis) => widened(range(points.map((point) => point[axis]))));
      const plot = frame(width, height, 12, ...limits);
      axes(pen, plot, [series.axes[i], series.axes[j]], true);
      pen.fillStyle = colour(`c${which.value % COLOURS}`);
      pen.globalAlpha = points.length > 1000 ? 0.35 : 0.7;
      const size = points.length > 1000 ? 2 : 3.2;
      for (const point of points) {
        pen.beginPath();
        pen.arc(plot.x(point[i]), plot.y(point[j]), size, 0, 2 * Math.PI);
        pen.fill();
      }
      count.textContent = `${points.length.toLocaleString("en")} ${points.length === 1 ? "point" : "points"}`;
    }

    // The series may have other axes each.
    function choose() {
      while (controls.children.length > 1) controls.lastChild.remove();
      const labels = data.series[names[which.value]].axes;
      across = choice(controls, "across", labels, 0);
      upward = choice(controls, "upward", labels, Math.min(1, labels.length - 1));
      across.onchange = upward.onchange = paint;
    }
    which.onchange = () => { choose(); paint(); };
    choose();
    return paint;
  }

  function lines(stage, data, caption) {
    const names = Object.keys(data.lines);
    if (!names.length || !data.x.length) throw new Error("it has no lines");
    const svg = draw(stage, "svg", { role: "img", class: "plot" });
    svg.setAttribute("aria-label", caption);
    const slider = make(stage, "input", { type: "range", min: 0, max: data.x.length - 1, step: 1, ariaLabel: data.labels[0] });
    slider.value = 0;
    const output = make(stage, "output", { className: "values" });
    const geometric = isGeometric(data.x);
    let plot, cursor;

    function move() {
      const place = Number(slider.value), at = plot.x(data.x[place]);
      cursor.setAttribute("transform", `translate(${at} 0)`);
      output.textContent = "";
      make(output, "span", { textContent: `${data.labels[0]}: ${written(data.x[place])}` });
      names.forEach((name, number) => {
        const span = make(output, "span");
        make(span, "i", { className: number < COLOURS ? "" : "dashed" }).style.background = `var(--c${number % COLOURS})`;
        span.append(`${name}: ${written(data.lines[name][place])}`);
      });
    }

    function paint() {
      const width = svg.clientWidth || stage.clientWidth, height = Math.max(240, Math.min(400, 0.5 * width));
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.style.height = `${height}px`;
      svg.textContent = "";
      plot = frame(width, height, 14, range(data.x), widened(range(names.flatMap((name) => data.lines[name]))), geometric ? Math.log : undefined);
      const { box } = plot;
      const text = (words, attributes) => { draw(svg, "text", attributes).textContent = words; };
      const marked = geometric ? logarithmicTicks(plot.xs, 2 * plot.across) : ticks(plot.xs, plot.across);
      for (const value of marked) {
        draw(svg, "line", { x1: plot.x(value), x2: plot.x(value), y1: box.top, y2: box.bottom, stroke: "var(--grid)" });
        text(written(value), { x: plot.x(value), y: box.bottom + 17, "text-anchor": "middle" });
      }
      for (const value of ticks(plot.ys, 5)) {
        draw(svg, "line", { x1: box.left, x2: box.right, y1: plot.y(value), y2: plot.y(value), stroke: "var(--grid)" });
        text(written(value), { x: box.left - 6, y: plot.y(value) + 4, "text-anchor": "end" });
      }
      text(data.labels[0], { x: (box.left + box.right) / 2, y: box.bottom + 36, "text-anchor": "middle" });
      const middle = (box.top + box.bottom) / 2;
      text(data.labels[1], { x: 10, y: middle, "text-anchor": "middle", transform: `rotate(-90 10 ${middle})`, dy: 4 });
      names.forEach((name, number) => {
        const places = data.x.map((x, index) => [x, data.lines[name][index]]);
        // A number that is missing breaks the line; one between two of those is a point, by its round ends.
        const steps = places.map(([x, y], index) => {
          if (!isNumber(x) || !isNumber(y)) return "";
          const joined = index > 0 && places[index - 1].every(isNumber);
          const place = `${plot.x(x).toFixed(2)} ${plot.y(y).toFixed(2)}`;
          return joined ? `L${place}` : `M${place}L${place}`;
        });
        const path = draw(svg, "path", { d: steps.join(""), fill: "none", stroke: `var(--c${number % COLOURS})`, "stroke-width": 1.8 });
        path.setAttribute("stroke-linejoin", "round");
        path.setAttribute("stroke-linecap", "round");
        if (number >= COLOURS) path.setAttribute("stroke-dasharray", "6 5"); // the colours begin anew
      });
      cursor = draw(svg, "g", { class: "cursor" });
      draw(cursor, "line", { x1: 0, x2: 0, y1: box.top, y2: box.bottom, stroke: "var(--text)", "stroke-dasharray": "3 3" });
      move();
    }
    slider.oninput = move;
    return paint;
  }

  function shade(part) {
    const place = Math.min(Math.max(part, 0), 1) * (SCALE.length - 1);
    const below = Math.min(Math.floor(place), SCALE.length - 2);
    return SCALE[below].map((value, index) => Math.round(value + (place - below) * (SCALE[below + 1][index] - value)));
  }

  const css = (part) => `rgb(${shade(part).join(" ")})`;

  // Which of places that rise or fall is nearest.
  function nearest(places, value) {
    let best = 0;
    places.forEach((place, index) => { if (Math.abs(place - value) < Math.abs(places[best] - value)) best = index; });
    return best;
  }

  // Where the cell of each place begins and the last one ends: halfway between two.
  function edges(places) {
    if (places.length === 1) return [places[0] - 0.5, places[0] + 0.5];
    const between = places.slice(1).map((place, index) => (place + places[index]) / 2);
    const last = places.length - 1;
    return [1.5 * places[0] - 0.5 * places[1], ...between, 1.5 * places[last] - 0.5 * places[last - 1]];
  }

  function grid(stage, data, caption) {
    if (!data.x.length || !data.y.length) throw new Error("it has no values");
    const limits = range(data.values.flat());
    const positive = limits[0] > 0;
    const controls = make(stage, "div", { className: "controls" });
    const label = make(controls, "label");
    const logarithmic = make(label, "input", { type: "checkbox", checked: positive && limits[1] > 100 * limits[0] });
    label.append("logarithmic colours");
    controls.hidden = !positive;
    const canvas = make(stage, "canvas", { className: "plot", role: "img", ariaLabel: caption });
    const output = make(stage, "output", { className: "read", textContent: "Point at the plane to read its values." });
    const across = edges(data.x), upward = edges(data.y);
    let plot;

    function paint() {
      const { pen, width, height } = sheet(canvas, Math.max(280, Math.min(520, 0.7 * canvas.clientWidth)));
      plot = frame(width, height, 84, range(across), range(upward));
      const { box } = plot;
      const scaled = logarithmic.checked ? Math.log : (value) => value;
      const [low, high] = limits.map(scaled);
      const part = (value) => (scaled(value) - low) / (high - low);
      data.y.forEach((_, row) => data.x.forEach((_, column) => {
        const value = data.values[row][column];
        if (!isNumber(value)) return;
        const left = plot.x(across[column]), right = plot.x(across[column + 1]);
        const bottom = plot.y(upward[row]), top = plot.y(upward[row + 1]);
        pen.fillStyle = css(part(value));
        // A pixel more, so that nothing shines through between the cells.
        pen.fillRect(Math.min(left, right), Math.min(top, bottom), Math.abs(right - left) + 1, Math.abs(bottom - top) + 1);
      }));
      pen.clearRect(box.right, 0, width - box.right, height);
      pen.clearRect(0, box.bottom, width, height - box.bottom);
      axes(pen, plot, data.labels, false);
      legend(pen, box, limits, part);
      marks(pen, box);
    }

    function legend(pen, box, [low, high], part) {
      const left = box.right + 14, height = box.bottom - box.top;
      for (let row = 0; row < height; row++) {
        pen.fillStyle = css(1 - row / height);
        pen.fillRect(left, box.top + row, 12, 1.5);
      }
      pen.fillStyle = colour("quiet");
      pen.textAlign = "left";
      pen.textBaseline = "middle";
      const steps = logarithmic.checked ? powers(low, high) : ticks([low, high], 5);
      for (const value of steps) pen.fillText(written(value), left + 16, box.bottom - part(value) * height);
      turned(pen, data.labels[2], left + 62, (box.top + box.bottom) / 2, height);
    }

    function powers(low, high) {
      const first = Math.ceil(Math.log10(low)), last = Math.floor(Math.log10(high));
      if (last <= first) return [low, Math.sqrt(low * high), high];
      const step = Math.ceil((last - first) / 6);
      return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, index) => Number(`1e${first + index * step}`));
    }

    // Points with their names, each on the first side of its point where it lies in the plane and on no other name.
    function marks(pen, box) {
      const places = Object.entries(data.marks).map(([name, [x, y]]) => ({ name, x: plot.x(x), y: plot.y(y) }));
      const taken = places.map(({ x, y }) => [x - 6, y - 6, x + 6, y + 6]);
      const free = ([left, top, right, bottom]) => left > box.left && right < box.right && top > box.top && bottom < box.bottom
        && taken.every((other) => right < other[0] || left > other[2] || bottom < other[1] || top > other[3]);
      pen.textAlign = "left";
      pen.textBaseline = "middle";
      pen.lineWidth = 3;
      pen.strokeStyle = "#000000";
      pen.fillStyle = "#ffffff";
      for (const { name, x, y } of places) {
        pen.beginPath();
        pen.arc(x, y, 4, 0, 2 * Math.PI);
        pen.stroke();
        pen.fill();
        const wide = pen.measureText(name).width;
        const around = [[x + 11, y], [x - 11 - wide, y], [x - wide / 2, y - 17], [x - wide / 2, y + 17]]
          .map(([left, middle]) => [left, middle - 7, left + wide, middle + 7]);
        const [left, top, right, bottom] = around.find(free) || around[0];
        taken.push([left, top, right, bottom]);
        pen.fillStyle = "rgb(0 0 0 / 70%)";
        pen.fillRect(left - 3, top - 1, right - left + 6, bottom - top + 2);
        pen.fillStyle = "#ffffff";
        pen.fillText(name, left, (top + bottom) / 2);
      }
    }

    function read(event) {
      const { box, xs, ys } = plot;
      const x = xs[0] + ((event.offsetX - box.left) / (box.right - box.left)) * (xs[1] - xs[0]);
      const y = ys[0] + ((box.bottom - event.offsetY) / (box.bottom - box.top)) * (ys[1] - ys[0]);
      if (x < xs[0] || x > xs[1] || y < ys[0] || y > ys[1]) return;
      const column = nearest(data.x, x), row = nearest(data.y, y);
      const place = `${data.labels[0]} ${written(data.x[column])}, ${data.labels[1]} ${written(data.y[row])}`;
      output.textContent = `${place}: ${data.labels[2]} ${written(data.values[row][column])}`;
    }
    logarithmic.onchange = paint;
    canvas.onpointermove = canvas.onpointerdown = read;
    return paint;
  }

  const KINDS = { scatter, lines, grid };
  const painters = [];

  for (const figure of document.querySelectorAll(".interactive")) {
    const stage = figure.querySelector(".stage");
    const caption = stage.getAttribute("aria-label");
    stage.removeAttribute("aria-label");
    stage.textContent = "";
    const kind = figure.dataset.kind;
    try {
      if (!Object.hasOwn(KINDS, kind)) throw new Error(`there is no kind '${kind}'`);
      const paint = KINDS[kind](stage, JSON.parse(figure.querySelector("script").textContent), caption);
      paint();
      painters.push(paint);
    } catch (error) { // the data is what an analysis wrote; the rest of the page is not to suffer
      stage.textContent = "";
      make(stage, "p", { className: "missing", textContent: `This element cannot be drawn: ${error.message}` });
    }
  }

  const repaint = () => painters.forEach((paint) => paint());
  let width = document.documentElement.clientWidth;
  addEventListener("resize", () => {
    if (document.documentElement.clientWidth === width) return;
    width = document.documentElement.clientWidth;
    repaint();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);

  for (const card of document.querySelectorAll(".card")) card.onclick = () => card.classList.toggle("large");
})();
