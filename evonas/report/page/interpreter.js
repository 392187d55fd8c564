"use strict";
// Computes a layer in double precision from its text form, such as `a = rms[chw](x); div(x, a)`.
//
// The group is what every moment is taken over, whatever its index set: a population of inputs. f(x) is the output at x
// where the moments stay those of the group; its derivative holds them fixed too. Values are pairs [value, derivative].
// The operations are those of evonas/graph/primitive.py, with their guards.
const Interpreter = (() => {
  const INITIAL = ["x", "zero", "v0", "v1"];
  const CALL = /^(?:([A-Za-z_]\w*)\s*=\s*)?([A-Za-z_]\w*)\s*(?:\[\s*(\w*)\s*\])?\s*\(([^()]*)\)$/;
  const NUMBER = /^(?:([A-Za-z_]\w*)\s*=\s*)?([-+.\deE]+)$/;

  function erf(x) {
    const size = Math.abs(x);
    if (size > 6) return Math.sign(x);
    let term = size;
    let sum = size;
    for (let n = 1; term > sum * 1e-17; n += 1) { // all terms are positive: nothing cancels
      term *= (2 * size * size) / (2 * n + 1);
      sum += term;
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-size * size) * sum;
  }

  function div([x, dx], [y, dy], eps) {
    const size = Math.abs(y);
    const guarded = Math.max(size, eps) * (y < 0 || Object.is(y, -0) ? -1 : 1);
    return [x / guarded, dx / guarded - (size > eps ? ((x / guarded) * dy) / guarded : 0)];
  }

  function sqrt([x, dx], eps) {
    const inside = Math.abs(x) + eps;
    return [x / Math.sqrt(inside), (dx * (Math.abs(x) / 2 + eps)) / (inside * Math.sqrt(inside))];
  }

  function sigmoid([x, dx]) {
    const value = 1 / (1 + Math.exp(-x));
    return [value, dx * value * (1 - value)];
  }

  const OPERATIONS = { // of (operands..., eps)
    add: ([x, dx], [y, dy]) => [x + y, dx + dy],
    mul: ([x, dx], [y, dy]) => [x * y, dx * y + x * dy],
    div,
    max: ([x, dx], [y, dy]) => [Math.max(x, y), x > y ? dx : dy],
    min: ([x, dx], [y, dy]) => [Math.min(x, y), x < y ? dx : x === y ? (dx + dy) / 2 : dy],
    neg: ([x, dx]) => [-x, -dx],
    sigmoid,
    tanh: ([x, dx]) => [Math.tanh(x), dx * (1 - Math.tanh(x) ** 2)],
    erf: ([x, dx]) => [erf(x), (dx * 2 * Math.exp(-x * x)) / Math.sqrt(Math.PI)],
    sin: ([x, dx]) => [Math.sin(x), dx * Math.cos(x)],
    exp: ([x, dx]) => [Math.exp(x), dx * Math.exp(x)],
    log: ([x, dx], eps) => [Math.sign(x) * Math.log(Math.abs(x) + eps), x === 0 ? 0 : dx / (Math.abs(x) + eps)],
    abs: ([x, dx]) => [Math.abs(x), dx * Math.sign(x)],
    square: ([x, dx]) => [x * x, 2 * x * dx],
    sqrt,
  };

  const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const MOMENTS = { // of (values over the group, eps)
    mean: (values) => average(values),
    rms: (values, eps) => Math.sqrt(average(values.map((value) => value * value)) + eps),
    std: (values, eps) => {
      const centre = average(values);
      return Math.sqrt(average(values.map((value) => (value - centre) ** 2)) + eps);
    },
  };

  // The nodes of a layer, the four initial ones first, the output last: {op, axes, inputs}, inputs being positions.
  function parse(text) {
    const nodes = INITIAL.map((op) => ({ op, axes: "", inputs: [] }));
    const positions = new Map(INITIAL.map((op, position) => [op, position]));
    const add = (name, node) => {
      nodes.push(node);
      if (name) positions.set(name, nodes.length - 1);
    };
    const position = (operand) => {
      if (!positions.has(operand)) {
        if (operand === "" || !Number.isFinite(Number(operand))) throw new Error(`operand ${operand} is not defined`);
        add(operand, { op: operand, axes: "", inputs: [] });
      }
      return positions.get(operand);
    };
    for (const statement of text.split(/[;\n]/).map((part) => part.trim()).filter(Boolean)) {
      const number = NUMBER.exec(statement);
      const call = CALL.exec(statement);
      if (number && Number.isFinite(Number(number[2]))) {
        add(number[1], { op: number[2], axes: "", inputs: [] });
      } else if (call) {
        const operands = call[4].trim() ? call[4].split(",").map((operand) => operand.trim()) : [];
        add(call[1], { op: call[2], axes: call[3] || "", inputs: operands.map(position) });
      } else {
        throw new Error(`the statement ${statement} cannot be read`);
      }
    }
    return nodes;
  }

  const own = (table, name) => (Object.hasOwn(table, name) ? table[name] : undefined);
  const isNumber = (op) => Number.isFinite(Number(op));

  // The operations that are not computed here: those of extensions.
  function missing(nodes) {
    const known = (op) => INITIAL.includes(op) || own(OPERATIONS, op) || own(MOMENTS, op) || isNumber(op);
    return [...new Set(nodes.map((node) => node.op).filter((op) => !known(op)))];
  }

  function valueOf(node, values, x, setting) {
    if (node.op === "x") return x;
    if (node.op === "v0" || node.op === "v1") return [setting[node.op], 0];
    const operation = own(OPERATIONS, node.op);
    if (operation) return operation(...node.inputs.map((input) => values[input]), setting.eps);
    return [node.op === "zero" ? 0 : Number(node.op), 0];
  }

  // The moments of the group, by the positions of their nodes. The setting holds v0, v1, eps, mu, sigma and quantiles,
  // those of the standard normal distribution: the group is mu + sigma * quantiles.
  function moments(nodes, setting) {
    const group = setting.quantiles.map((quantile) => [setting.mu + setting.sigma * quantile, 0]);
    const rows = group.map(() => []);
    const found = {};
    nodes.forEach((node, position) => {
      const moment = own(MOMENTS, node.op);
      if (moment) found[position] = moment(rows.map((values) => values[node.inputs[0]][0]), setting.eps);
      rows.forEach((values, place) => {
        values.push(moment ? [found[position], 0] : valueOf(node, values, group[place], setting));
      });
    });
    return found;
  }

  // The output at x and its derivative.
  function respond(nodes, fixed, setting, x) {
    const values = [];
    nodes.forEach((node, position) => {
      values.push(position in fixed ? [fixed[position], 0] : valueOf(node, values, [x, 1], setting));
    });
    return values[values.length - 1];
  }

  return { parse, missing, moments, respond };
})();
