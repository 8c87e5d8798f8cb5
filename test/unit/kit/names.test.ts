import { expect, it } from 'vitest';
import { gatewayNameOfHost, problemOfName } from '../../../src/core/kit/index.ts';

it.each(['a', '9', 'golden-2026', 'a.b_c-', 'vol-golden', 'vol', 'x'.repeat(128)])('%j is a name', (name) => {
  expect(problemOfName(name)).toBeUndefined();
});

it.each([
  ['', 'is empty'],
  ['x'.repeat(129), 'is longer than 128 characters'],
  ['vol-123', 'looks like an id'],
  ['VOL-ABC', 'looks like an id'],
  ['snap-0123456789abcdef0', 'looks like an id'],
  ['-a', 'does not begin with a letter or digit'],
  ['.a', 'does not begin with a letter or digit'],
  ['a/b', 'holds characters that names do not have'],
  ['a b', 'holds characters that names do not have'],
  ['größe', 'holds characters that names do not have'],
])('%j is none: it %s', (name, problem) => {
  expect(problemOfName(name)).toBe(problem);
});

it('a host gives a gateway its first label, if that is a name', () => {
  expect(gatewayNameOfHost('lab-1.example.org')).toBe('lab-1');
  expect(gatewayNameOfHost('')).toBe('gateway');
  expect(gatewayNameOfHost('-x')).toBe('gateway');
});
