import "./gallery.css";
import { size } from "./size.js";

for (const item of document.querySelectorAll("[data-bytes]")) {
  item.textContent = size(Number(item.dataset.bytes));
}
