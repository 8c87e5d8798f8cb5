/** Progress of several things that are drained at once, as that of one. */
import type { OnProgress } from './served.ts';

/** Of `count` things: the function gives each, by its number, what it tells its own progress to. */
export function progressTogether(count: number, onProgress: OnProgress | undefined): (index: number) => OnProgress {
  const progress = Array.from({ length: count }, () => ({ done: 0, total: 0 }));
  const sum = (of: 'done' | 'total'): number => progress.reduce((bytes, one) => bytes + one[of], 0);
  return (index) => (done, total) => {
    progress[index] = { done, total };
    onProgress?.(sum('done'), sum('total'));
  };
}
