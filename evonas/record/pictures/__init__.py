"""Pictures of layers and of searches, as matplotlib figures that no global state knows of."""

from evonas.record.pictures.charts import MEAN as MEAN
from evonas.record.pictures.charts import draw_front as draw_front
from evonas.record.pictures.charts import draw_progress as draw_progress
from evonas.record.pictures.curves import draw_curves as draw_curves
from evonas.record.pictures.figure import to_array as to_array
from evonas.record.pictures.figure import to_png as to_png
from evonas.record.pictures.heatmap import HeatCell as HeatCell
from evonas.record.pictures.heatmap import draw_heatmap as draw_heatmap
from evonas.record.pictures.images import draw_images as draw_images
from evonas.record.pictures.intervals import IntervalRow as IntervalRow
from evonas.record.pictures.intervals import draw_intervals as draw_intervals
from evonas.record.pictures.layer import draw_genome as draw_genome
from evonas.record.pictures.panels import Points as Points
from evonas.record.pictures.panels import draw_panels as draw_panels
