const units = ["bytes", "KiB", "MiB", "GiB"];

export function size(bytes) {
  let unit = 0;
  for (; bytes >= 1024 && unit < units.length - 1; unit += 1) bytes /= 1024;
  return `${Math.round(bytes)} ${units[unit]}`;
}
