"""Instance segmentation with Mask R-CNN: networks, scenes and COCO folders, box and mask precision."""
